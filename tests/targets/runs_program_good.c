// Runs another program by system() and goes on to allocate.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// needs: handled
#define CHECKED 1
#include "runs_program.c"
