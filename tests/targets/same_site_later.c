// One site allocates five times and only its last result goes unchecked: first occurrences do not show it.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
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

int main(void)
{
    int sum = 0;
    for (int i = 1; i <= 5; i++) {
        int *p = malloc(sizeof *p);
        if ((CHECKED || i < 5) && !p)
            die("p");
        *(volatile int *)p = i;
        sum += *p;
        free(p);
    }
    fprintf(stderr, "%d\n", sum);
    return 0;
}
