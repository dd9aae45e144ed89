// Catches std::bad_alloc in main, says so and ends with status 1.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "aborted_bad_alloc.cpp"
