// Ends instead of waiting.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "hung_pause.c"
