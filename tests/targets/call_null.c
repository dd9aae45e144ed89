// Calls a function through a pointer that stayed NULL because its table could not be allocated.
// expect: crashed
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>

struct operations {
    int (*add)(int, int);
};

static int add(int a, int b) { return a + b; }

__attribute__((noinline)) static void choose(struct operations *ops)
{
    char *scratch = malloc(64);
    if (!scratch) {
        ops->add = NULL;
        return;
    }
    ops->add = scratch != (char *)ops ? add : NULL;
    free(scratch);
}

int main(void)
{
    struct operations ops;
    choose(&ops);
    if (CHECKED && !ops.add) {
        fputs("no operations: out of memory\n", stderr);
        return 1;
    }
    printf("%d\n", ops.add(40, 2));
    return 0;
}
