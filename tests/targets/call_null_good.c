// Looks at the function pointer before calling it.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "call_null.c"
