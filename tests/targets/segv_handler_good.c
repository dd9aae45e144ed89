// Has a SIGSEGV handler, but looks at the result of malloc and never needs it.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "segv_handler.c"
