// Looks at the allocation before it forks the child that needs it.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "child_crash.c"
