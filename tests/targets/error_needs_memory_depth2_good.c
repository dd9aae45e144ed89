// The error path needs no memory for its message.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --depth 2
#define CAREFUL 1
#include "error_needs_memory.c"
