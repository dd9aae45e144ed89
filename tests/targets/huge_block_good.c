// Checks the one huge block it asks for; its small blocks are never failed, as the fault is by size.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --fault size=100000000+
#define CHECKED 1
#include "huge_block.c"
