// Leaves the item out without a word and ends with status 0.
// expect: silent
// never: crashed,corrupted,hung,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) static int show(const char *name)
{
    char *line = malloc(strlen(name) + 8);
    if (!line)
        return 1;
    strcpy(line, "item: ");
    strcat(line, name);
    puts(line);
    free(line);
    return 0;
}

int main(void)
{
    int failed = show("apple") | show("pear");
    if (CHECKED && failed) {
        fputs("out of memory\n", stderr);
        return 1;
    }
    return 0;
}
