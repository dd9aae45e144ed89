// One site allocates five times and only its last result goes unchecked: failing every allocation shows it.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --every
#include "same_site_later.c"
