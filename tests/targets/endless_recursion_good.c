// The out-of-memory handler prints one line and ends the program.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "endless_recursion.c"
