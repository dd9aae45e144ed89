// Says that the file is incomplete and ends with status 1.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// watch: report.txt
#define CHECKED 1
#include "silent_file.c"
