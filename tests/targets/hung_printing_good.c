// Prints the complaint three times, then gives up.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "hung_printing.c"
