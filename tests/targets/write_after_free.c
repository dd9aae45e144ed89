// The error path writes into a block that it has freed; only a check of the heap can see it.
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
    char *volatile state = malloc(256);
    if (!state) {
        fputs("out of memory\n", stderr);
        return 1;
    }
    strcpy(state, "fine");
    char *more = malloc(300);
    if (!more) {
        free(state);
        if (!CHECKED)
            memcpy(state + 64, "failed", 7);
        fputs("out of memory\n", stderr);
        return 1;
    }
    strcpy(more, state);
    puts(more);
    free(more);
    free(state);
    return 0;
}
