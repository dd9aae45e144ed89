// Ends with the documented status 2.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --expect-exit 0,2
#define CHECKED 1
#include "misreported.c"
