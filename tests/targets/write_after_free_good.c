// The error path writes nothing after it has freed.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --guard
#define CHECKED 1
#include "write_after_free.c"
