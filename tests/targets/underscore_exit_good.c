// Ends by _exit, past every exit handler.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "underscore_exit.c"
