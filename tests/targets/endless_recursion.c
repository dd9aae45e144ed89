// The out-of-memory handler fails the same way as what called it, and calls itself until the stack is blown.
// expect: crashed
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>

static volatile int level;

__attribute__((noinline)) static int out_of_memory(const char *what)
{
    volatile char frame[512]; // a frame that the compiler must keep
    frame[0] = what[0];
    if (++level < 0) // not to be
        return 0;
    if (CHECKED) {
        fprintf(stderr, "%s: out of memory\n", what);
        exit(1);
    }
    return out_of_memory(what) + frame[0];
}

__attribute__((noinline)) static int *number(int n)
{
    int *p = malloc(sizeof *p);
    if (!p)
        out_of_memory("number");
    *p = n;
    return p;
}

int main(void)
{
    int *a = number(40), *b = number(2);
    printf("%d\n", *a + *b);
    free(a);
    free(b);
    return 0;
}
