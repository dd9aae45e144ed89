// Waits in a busy loop for memory that somebody else should free.
// expect: hung
// never: crashed,corrupted,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>

static volatile int pressure;

__attribute__((noinline)) static void *need(size_t size)
{
    void *p = malloc(size);
    if (!p) {
        pressure = 1;
        for (int i = 0; pressure; i += CHECKED) // nobody ever clears it
            if (i == 1000) {
                fputs("out of memory\n", stderr);
                exit(1);
            }
    }
    return p;
}

int main(void)
{
    int *p = need(sizeof *p);
    *p = 42;
    printf("%d\n", *p);
    free(p);
    return 0;
}
