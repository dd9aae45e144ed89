// Calls each function that allocates and uses what it returns unseen.
// expect: crashed
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((noinline)) static void *use(const char *function, void *p, size_t align)
{
    if (CHECKED && !p) {
        fprintf(stderr, "%s: out of memory\n", function);
        exit(1);
    }
    ((volatile char *)p)[0] = 'x';
    if ((uintptr_t)p % align)
        abort();
    return p;
}

int main(void)
{
    void *block = NULL;
    free(use("malloc", malloc(10), 16));
    free(use("calloc", calloc(2, 10), 16));
    free(use("realloc", realloc(use("realloc of nothing", realloc(NULL, 10), 16), 5000), 16));
    free(use("reallocarray", reallocarray(NULL, 3, 10), 16));
    free(use("posix_memalign", posix_memalign(&block, 64, 10) ? NULL : block, 64));
    free(use("aligned_alloc", aligned_alloc(128, 256), 128));
    free(use("memalign", memalign(256, 10), 256));
    free(use("valloc", valloc(10), 4096));
    free(use("pvalloc", pvalloc(10), 4096));
    free(use("strdup", strdup("text"), 1));
    free(use("strndup", strndup("text", 2), 1));
    char *message = NULL;
    free(use("asprintf", asprintf(&message, "%d", 42) < 0 ? NULL : message, 1));
    free(use("getcwd", getcwd(NULL, 0), 1));
    return 0;
}
