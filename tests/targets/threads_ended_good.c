// A thread has come and gone before the later allocations: the process has one thread again.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// link: -pthread
#define CHECKED 1
#include "threads_ended.c"
