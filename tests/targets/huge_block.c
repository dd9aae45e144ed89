// Does not check the one huge block it asks for; its small blocks are never failed, as the fault is by size.
// expect: crashed
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --fault size=100000000+
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) static char *small(const char *text)
{
    char *p = malloc(100);
    return strcpy(p, text); // unchecked: a fault by size must not come here
}

int main(void)
{
    char *a = small("huge"), *huge = malloc((size_t)200 << 20), *b = small("done");
    if (CHECKED && !huge) {
        fputs("no 200 MB to be had\n", stderr);
        return 1;
    }
    ((volatile char *)huge)[100] = 'x'; // one page of it is all that is used
    fprintf(stderr, "%s %s\n", a, b);
    free(a);
    free(huge);
    free(b);
    return 0;
}
