// The error path frees the block by its start.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "invalid_free.c"
