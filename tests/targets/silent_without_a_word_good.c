// Leaves the item out, says so and ends with status 1.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "silent_without_a_word.c"
