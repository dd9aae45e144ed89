// Waits for any child until there is none left: a clone that is its child would be counted or waited for.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "wait_any.c"
