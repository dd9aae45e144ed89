// Keeps data in a pair of sockets across allocations; a clone must not take it away.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "socket_pair.c"
