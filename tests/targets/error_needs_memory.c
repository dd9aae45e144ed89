// The error path needs memory too, for its message, which is there when only one allocation fails.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifndef CAREFUL
#define CAREFUL 0
#endif

__attribute__((noinline)) static char *need(const char *name, size_t size)
{
    char *p = malloc(size), *message = NULL;
    if (!p) {
        if (CAREFUL) {
            fputs("out of memory\n", stderr);
        } else {
            if (asprintf(&message, "%s: no %zu bytes", name, size) < 0)
                message = NULL;
            fwrite(message, 1, strlen(message), stderr);
            fputc('\n', stderr);
            free(message);
        }
        exit(1);
    }
    return p;
}

int main(void)
{
    char *a = need("a", 100), *b = need("b", 200);
    strcpy(a, "enough");
    strcpy(b, a);
    fputs(b, stderr);
    free(a);
    free(b);
    return 0;
}
