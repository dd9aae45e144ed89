// Half a line waits in the stdout buffer at each allocation; it must be printed once, by the right process.
// expect: handled,tolerated
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "stdout_half_full.c"
