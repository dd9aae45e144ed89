// The destructor of a thread-specific key allocates while its thread ends.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// link: -pthread
#define CHECKED 1
#include "key_destructor.c"
