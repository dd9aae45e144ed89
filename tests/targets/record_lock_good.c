// Does without the memory, and widens a record lock that a clone would not hold.
// expect: tolerated
// never: handled,crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "record_lock.c"
