// Renames the file into place only when it is whole; a clone that did so too would be in the way.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// watch: out.txt
#define CHECKED 1
#include "file_rename.c"
