// Counts its allocations in shared memory, which a clone would count in too.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "shared_counter.c"
