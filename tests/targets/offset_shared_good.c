// Reads a file piece by piece through one file offset, which a clone would share.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "offset_shared.c"
