// Stops growing and ends with status 1 when its heap meets the limit.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --fault limit=1000000
#define CHECKED 1
#include "growing_heap.c"
