// Starts /bin/true by posix_spawn and by vfork between allocations.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "spawns_true.c"
