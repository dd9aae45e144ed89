// Allocates at each depth of a recursion: forty sites that differ in depth only.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "deep_recursion.c"
