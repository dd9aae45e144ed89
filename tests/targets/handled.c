// Every failure is reported and ends the program with status 1.
// expect: handled
// never: tolerated,crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) static char *copy(const char *text)
{
    char *p = strdup(text);
    if (!p) {
        fputs("handled: out of memory\n", stderr);
        exit(1);
    }
    return p;
}

int main(void)
{
    char *a = copy("one"), *b = copy("two"), *c = copy("three");
    fputs("handled: ", stderr);
    fputs(a, stderr);
    fputs(b, stderr);
    fputs(c, stderr);
    fputs("\n", stderr);
    free(a);
    free(b);
    free(c);
    return 0;
}
