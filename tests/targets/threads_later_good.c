// Threads start after some allocations and allocate themselves, at the same time.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// link: -pthread
#define CHECKED 1
#include "threads_later.c"
