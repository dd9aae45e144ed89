// The error path starts processes that end by themselves, and waits for them.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "hung_family.c"
