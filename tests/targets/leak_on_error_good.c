// The error path frees what it holds.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --leaks
#define CHECKED 1
#include "leak_on_error.c"
