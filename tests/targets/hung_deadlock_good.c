// The error path gives the mutex back first.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// link: -pthread
#define CHECKED 1
#include "hung_deadlock.c"
