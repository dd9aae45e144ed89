// Writes through the result of malloc without a look at it.
// expect: crashed
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) static char *copy(const char *text)
{
    char *p = malloc(strlen(text) + 1);
    if (CHECKED && !p) {
        fputs("copy: out of memory\n", stderr);
        exit(1);
    }
    strcpy(p, text);
    return p;
}

int main(void)
{
    char *a = copy("first"), *b = copy("second");
    printf("%s %s\n", a, b);
    free(a);
    free(b);
    return 0;
}
