// The same with jemalloc linked into the program.
// run: 512
// site: remember 1 x $1
// allocator: kept_blocks_jemalloc_linked_in
// flags: -fno-builtin
// link: -l:libjemalloc.a -pthread -ldl -lm -lstdc++
#include "kept_blocks.c"
