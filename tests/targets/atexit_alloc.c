// An exit handler allocates after main, and does not check.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void at_end(void)
{
    char *p = malloc(200);
    if (CHECKED && !p) {
        fputs("exit handler: out of memory\n", stderr);
        _exit(1);
    }
    strcpy(p, "goodbye\n");
    fputs(p, stderr);
    free(p);
}

int main(void)
{
    if (atexit(at_end))
        return 1;
    char *p = malloc(100);
    if (!p) {
        fputs("main: out of memory\n", stderr);
        return 1;
    }
    strcpy(p, "hello\n");
    fputs(p, stderr);
    free(p);
    return 0;
}
