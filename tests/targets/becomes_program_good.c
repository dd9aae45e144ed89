// Allocates, then executes another program in its own place.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// needs: handled
#define CHECKED 1
#include "becomes_program.c"
