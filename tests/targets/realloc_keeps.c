// Overwrites its only pointer with the result of realloc, and writes through it.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *text = malloc(16);
    if (!text) {
        fputs("out of memory\n", stderr);
        return 2;
    }
    strcpy(text, "kept whole");
    errno = 0;
    char *longer = realloc(text, 100000);
    if (CHECKED && !longer) {
        if (errno != ENOMEM || strcmp(text, "kept whole") != 0)
            abort(); // the allocator broke its promise
        fprintf(stderr, "out of memory, still have: %s\n", text);
        free(text);
        return 2;
    }
    text = longer;
    strcat(text, " and grown\n");
    fputs(text, stderr);
    free(text);
    return 0;
}
