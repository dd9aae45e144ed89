// An interval timer fires all the time, in the middle of allocations.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "signal_timer.c"
