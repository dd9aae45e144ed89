// The error path writes only what fits.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --guard
#define CHECKED 1
#include "heap_overrun.c"
