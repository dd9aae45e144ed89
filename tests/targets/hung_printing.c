// Prints the same complaint without end.
// expect: hung
// never: crashed,corrupted,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *p = NULL;
    int tries = 0;
    p = malloc(100);
    while (!p) {
        puts("out of memory, trying again");
        if (CHECKED && ++tries == 3)
            return 1;
    }
    strcpy(p, "hello");
    puts(p);
    free(p);
    return 0;
}
