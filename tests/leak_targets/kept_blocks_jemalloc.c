// The same with jemalloc as a shared library.
// run: 512
// site: remember 1 x $1
// allocator: libjemalloc
// flags: -fno-builtin
// link: -Wl,--no-as-needed -ljemalloc
#include "kept_blocks.c"
