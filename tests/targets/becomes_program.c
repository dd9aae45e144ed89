// Allocates without a check, then executes another program in its own place.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// needs: handled
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

// The program of this name beside our own.
static const char *beside(const char *name)
{
    static char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 100);
    while (length > 0 && path[length - 1] != '/')
        length--;
    strcpy(path + (length > 0 ? length : 0), name);
    return path;
}

int main(void)
{
    char **arguments = calloc(2, sizeof *arguments);
    if (!arguments)
        die("arguments");
    arguments[0] = malloc(100);
    if (CHECKED && !arguments[0])
        die("name");
    strcpy(arguments[0], "handled");
    execv(beside("handled"), arguments);
    fputs("handled: cannot be executed\n", stderr);
    return 3;
}
