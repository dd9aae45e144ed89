// Says what ran out.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --expect-stderr memory
#define CHECKED 1
#include "misreported_stderr.c"
