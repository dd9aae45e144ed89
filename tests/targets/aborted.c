// Gives up with abort() when memory runs out.
// expect: aborted
// never: crashed,corrupted,hung,silent,misreported,asserted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static int *number(int n)
{
    int *p = malloc(sizeof *p);
    if (!p) {
        fputs("out of memory\n", stderr);
        if (CHECKED)
            exit(1);
        abort();
    }
    *p = n;
    return p;
}

int main(void)
{
    int *p = number(42);
    printf("%d\n", *p);
    free(p);
    return 0;
}
