// Allocates at each depth of a recursion, forty sites that differ in depth only; the deepest one is not
// checked.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>

static void die(const char *what)
{
    fprintf(stderr, "%s: out of memory\n", what);
    exit(1);
}

__attribute__((noinline)) static int *descend(int depth)
{
    int *below = depth < 40 ? descend(depth + 1) : NULL;
    int *p = malloc(sizeof *p);
    if ((CHECKED || depth < 40) && !p)
        die("descend");
    *p = depth + (below ? *below : 0);
    free(below);
    return p;
}

int main(void)
{
    int *sum = descend(1);
    fprintf(stderr, "%d\n", *sum);
    free(sum);
    return 0;
}
