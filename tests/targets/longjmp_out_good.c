// The error path jumps out with longjmp to a place that ends with status 1.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "longjmp_out.c"
