// The error path needs memory too, for its message, and crashes when that second allocation fails as well.
// expect: crashed
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --depth 2
#include "error_needs_memory.c"
