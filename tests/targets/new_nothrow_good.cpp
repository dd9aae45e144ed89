// Looks at the result of operator new (nothrow).
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "new_nothrow.cpp"
