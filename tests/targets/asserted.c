// Asserts that an allocation succeeded.
// expect: asserted
// never: crashed,corrupted,hung,silent,misreported,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    int *p = malloc(sizeof *p);
    if (CHECKED && !p) {
        fputs("out of memory\n", stderr);
        return 1;
    }
    assert(p != NULL);
    *p = 42;
    printf("%d\n", *p);
    free(p);
    return 0;
}
