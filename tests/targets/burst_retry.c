// Tries each allocation twice, which a burst of two failures outlasts.
// expect: crashed
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --fault burst=2
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES (CHECKED ? 3 : 2)

__attribute__((noinline)) static char *need(const char *text)
{
    char *p = NULL;
    for (int i = 0; i < TRIES && !p; i++)
        p = malloc(100);
    return strcpy(p, text);
}

int main(void)
{
    char *a = need("one"), *b = need("two");
    fprintf(stderr, "%s %s\n", a, b);
    free(a);
    free(b);
    return 0;
}
