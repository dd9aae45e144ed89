// Closes every descriptor, whoever opened it, and then goes on to allocate; only its status tells.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "close_all.c"
