// Loads a library while it runs and unloads it; the loader hands its failures on.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// link: -ldl
#define CHECKED 1
#include "loads_library.c"
