// Threads run before the first allocation of main, so that no clone of one thread is honest.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// link: -pthread
#define CHECKED 1
#include "threads_first.c"
