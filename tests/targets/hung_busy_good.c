// Waits a bounded time, then gives up with status 1.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "hung_busy.c"
