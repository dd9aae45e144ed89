// Looks at the result of malloc, says so on stderr and ends with status 1.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "null_deref.c"
