// Expects errno to be ENOMEM after each failed allocation, and to be left alone by each that succeeds.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

static void *seen(void *p)
{
    if (!p) {
        if (errno != ENOMEM)
            abort();
        fputs("out of memory\n", stderr);
        exit(1);
    }
    if (errno != 77)
        abort();
    return p;
}

int main(void)
{
    errno = 77;
    char *a = seen(malloc(10));
    char *b = seen(calloc(2, 10));
    a = seen(realloc(a, 300));
    b = seen(reallocarray(b, 30, 10));
    void *c = seen(aligned_alloc(64, 640));
    void *d = seen(memalign(64, 640));
    a[0] = b[0] = 'x';
    free(a);
    free(b);
    free(c);
    free(d);
    return 0;
}
