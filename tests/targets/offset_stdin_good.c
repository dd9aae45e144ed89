// Reads standard input piece by piece, at an offset that a clone would share.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// run: < the quick brown fox jumps\nover it\n
#define CHECKED 1
#include "offset_stdin.c"
