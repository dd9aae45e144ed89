// Allocates nothing at all: there is nothing to fail, and that must be said rather than passed.
// expect: 
// never: handled,tolerated,crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#include <unistd.h>

int main(void) { return write(1, "nothing\n", 8) == 8 ? 0 : 1; }
