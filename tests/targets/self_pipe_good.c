// Keeps data in a pipe to itself across allocations; a clone must not take it away.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "self_pipe.c"
