// A constructor allocates before main, and does not check.
// expect: crashed,handled
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

static char *early;

__attribute__((constructor)) static void before_main(void)
{
    early = malloc(100);
    if (CHECKED && !early)
        die("constructor");
    strcpy(early, "early");
}

int main(void)
{
    char *late = malloc(200);
    if (!late)
        die("main");
    strcat(strcpy(late, early), " and late\n");
    fputs(late, stderr);
    free(late);
    free(early);
    return 0;
}
