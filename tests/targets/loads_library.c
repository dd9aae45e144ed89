// Loads a library while it runs and unloads it; the allocation between is not checked.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// link: -ldl
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <dlfcn.h>
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
    void *library = dlopen("libm.so.6", RTLD_NOW);
    if (!library)
        die("libm.so.6");
    double (*cosine)(double);
    *(void **)&cosine = dlsym(library, "cos");
    if (!cosine)
        die("cos");
    char *line = malloc(100);
    if (CHECKED && !line)
        die("line");
    snprintf(line, 100, "%d\n", (int)cosine(0.0));
    fputs(line, stderr);
    free(line);
    dlclose(library);
    return 0;
}
