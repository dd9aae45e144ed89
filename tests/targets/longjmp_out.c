// The error path jumps out with longjmp, and where it lands nobody knows that anything failed.
// expect: silent
// never: crashed,corrupted,hung,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static jmp_buf out;

__attribute__((noinline)) static char *copy(const char *text)
{
    char *p = malloc(strlen(text) + 1);
    if (!p)
        longjmp(out, 1);
    return strcpy(p, text);
}

int main(void)
{
    if (setjmp(out)) {
        if (!CHECKED)
            return 0;
        fputs("out of memory\n", stderr);
        return 1;
    }
    char *a = copy("one"), *b = copy("two");
    printf("%s %s\n", a, b);
    free(a);
    free(b);
    return 0;
}
