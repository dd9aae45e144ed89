// Uses and frees the old block when realloc fails: it must still be there, untouched.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --expect-exit 0,2
#define CHECKED 1
#include "realloc_keeps.c"
