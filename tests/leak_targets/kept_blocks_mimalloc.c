// The same with mimalloc as a shared library.
// run: 512
// site: remember 1 x $1
// allocator: libmimalloc
// flags: -fno-builtin
// link: -Wl,--no-as-needed -lmimalloc
#include "kept_blocks.c"
