// Counts its allocations in shared memory, which a clone would count in too; the last one is not checked.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "%s: out of memory\n", what);
    exit(1);
}

static int *counter;

__attribute__((noinline)) static char *need(const char *name)
{
    char *p = malloc(100);
    if (!p)
        die(name);
    ++*counter;
    return strcpy(p, name);
}

int main(void)
{
    counter = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (counter == MAP_FAILED)
        return 3;
    char *a = need("a"), *b = need("b"), *c = need("c");
    char *line = malloc(200);
    if (CHECKED && !line)
        die("line");
    ++*counter;
    int length = sprintf(line, "%s%s%s %d\n", a, b, c, *counter);
    if (write(1, line, length) != length || *counter != 4)
        return 4;
    free(a);
    free(b);
    free(c);
    free(line);
    return 0;
}
