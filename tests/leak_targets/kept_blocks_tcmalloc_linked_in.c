// The same with tcmalloc linked into the program.
// run: 512
// site: remember 1 x $1
// allocator: kept_blocks_tcmalloc_linked_in
// flags: -fno-builtin
// link: -l:libtcmalloc_minimal.a -pthread -lstdc++ -lm
#include "kept_blocks.c"
