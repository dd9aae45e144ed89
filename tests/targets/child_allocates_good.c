// The child looks at its allocation, and the parent hands the failure on.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "child_allocates.c"
