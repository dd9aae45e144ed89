// Half a line waits in the stdout buffer at the allocation that is not checked.
// expect: crashed
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what)
{
    fprintf(stderr, "%s: out of memory\n", what);
    exit(1);
}

int main(void)
{
    printf("first ");
    char *a = malloc(100);
    if (!a)
        die("a");
    strcpy(a, "second ");
    printf("%s", a);
    char *b = malloc(200);
    if (CHECKED && !b)
        die("b");
    strcpy(b, "third\n");
    printf("%s", b);
    free(a);
    free(b);
    return fflush(stdout) ? 2 : 0;
}
