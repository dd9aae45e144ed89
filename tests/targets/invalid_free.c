// The error path frees a pointer into the middle of a block.
// expect: corrupted
// never: crashed,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *text = malloc(200);
    if (!text) {
        fputs("out of memory\n", stderr);
        return 1;
    }
    strcpy(text, "key=value");
    char *volatile value = text + 4, *copy = malloc(100);
    if (!copy) {
        free(CHECKED ? text : (char *)value);
        fputs("out of memory\n", stderr);
        return 1;
    }
    strcpy(copy, value);
    puts(copy);
    free(copy);
    free(text);
    return 0;
}
