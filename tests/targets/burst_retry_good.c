// Tries each allocation three times, which outlasts a burst of two failures.
// expect: tolerated
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --fault burst=2
#define CHECKED 1
#include "burst_retry.c"
