// The error path needs memory too, for its message, and crashes when every later allocation fails as well.
// expect: crashed
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --fault sticky
#include "error_needs_memory.c"
