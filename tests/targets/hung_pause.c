// Blocks for ever in pause(), waiting for a signal that nobody sends.
// expect: hung
// never: crashed,corrupted,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    char *p = malloc(100);
    if (!p) {
        fputs("out of memory\n", stderr);
        if (CHECKED)
            return 1;
        pause();
    }
    strcpy(p, "hello");
    puts(p);
    free(p);
    return 0;
}
