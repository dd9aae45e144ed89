// Complains on stderr, leaves the item out, and still ends with status 0.
// expect: silent
// never: crashed,corrupted,hung,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed;

__attribute__((noinline)) static void show(const char *name)
{
    char *line = malloc(strlen(name) + 8);
    if (!line) {
        fprintf(stderr, "warning: cannot show %s\n", name);
        failed = 1;
        return;
    }
    strcpy(line, "item: ");
    strcat(line, name);
    puts(line);
    free(line);
}

int main(void)
{
    show("apple");
    show("pear");
    return CHECKED ? failed : 0;
}
