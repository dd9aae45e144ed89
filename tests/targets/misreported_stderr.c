// Blames the disk on stderr where memory ran out.
// expect: misreported
// never: crashed,corrupted,hung,silent,asserted,aborted,damaged,unreached
// options: --expect-stderr memory
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
        fputs(CHECKED ? "out of memory\n" : "disk full\n", stderr);
        return 1;
    }
    strcpy(p, "hello");
    free(p);
    return 0;
}
