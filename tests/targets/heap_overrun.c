// The error path falls back on a block that is too short and writes past its end; only a check of the heap can
// see it.
// expect: corrupted
// never: crashed,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --guard
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *volatile small = malloc(24);
    if (!small) {
        fputs("out of memory\n", stderr);
        return 1;
    }
    char *message = malloc(64);
    if (!message) {
        // 25 bytes with the terminating zero: one too many.
        memcpy(small, "error: no memory at all", 22);
        memcpy(small + 22, CHECKED ? "" : "ll", CHECKED ? 1 : 3);
        fputs("out of memory\n", stderr);
        free(small);
        return 1;
    }
    strcpy(message, "plenty");
    puts(message);
    free(message);
    free(small);
    return 0;
}
