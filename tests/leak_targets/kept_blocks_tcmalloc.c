// The same with tcmalloc as a shared library.
// run: 512
// site: remember 1 x $1
// allocator: libtcmalloc
// flags: -fno-builtin
// link: -Wl,--no-as-needed -ltcmalloc_minimal
#include "kept_blocks.c"
