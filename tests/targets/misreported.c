// Ends with status 3 where its documented status for lack of memory is 2.
// expect: misreported
// never: crashed,corrupted,hung,silent,asserted,aborted,damaged,unreached
// options: --expect-exit 0,2
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *p = malloc(100);
    if (!p) {
        fputs("out of memory\n", stderr);
        return CHECKED ? 2 : 3;
    }
    strcpy(p, "hello");
    fputs(p, stderr);
    free(p);
    return 0;
}
