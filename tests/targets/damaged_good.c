// Writes the new state beside the old one and renames it when it is whole.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// check: test ! -e state || tail -n 1 state | grep -qx end
#define CHECKED 1
#include "damaged.c"
