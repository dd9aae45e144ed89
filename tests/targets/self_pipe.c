// Keeps data in a pipe to itself across allocations, of which the last is not checked.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "%s: out of memory\n", what);
    exit(1);
}

int main(void)
{
    int ends[2];
    char got[8] = "";
    if (pipe(ends) || write(ends[1], "12345", 5) != 5)
        return 3;
    char *a = malloc(100);
    if (!a)
        die("a");
    if (read(ends[0], got, 3) != 3)
        return 4;
    strcpy(a, got);
    char *b = malloc(200);
    if (CHECKED && !b)
        die("b");
    if (read(ends[0], got, 2) != 2) // blocks for ever when somebody else has read it
        return 5;
    got[2] = '\0';
    strcat(strcpy(b, a), got);
    strcat(b, "\n");
    if (write(1, b, strlen(b)) != 6)
        return 6;
    free(a);
    free(b);
    return 0;
}
