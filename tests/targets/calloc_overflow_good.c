// Asks for more than there can be: calloc and reallocarray must say no by themselves, with and without faults.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    volatile size_t half = SIZE_MAX / 2;
    char *old = malloc(16);
    if (!old) {
        fputs("out of memory\n", stderr);
        return 1;
    }
    old[0] = 'o';
    errno = 0;
    if (calloc(half, 4) != NULL || errno != ENOMEM)
        abort();
    errno = 0;
    if (reallocarray(old, half, 4) != NULL || errno != ENOMEM || old[0] != 'o')
        abort();
    errno = 0;
    if (malloc(half + 10) != NULL || errno != ENOMEM) // more than PTRDIFF_MAX
        abort();
    free(old);
    return 0;
}
