// Ends by _exit, past every exit handler, after an allocation that is not checked.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) < 0)
        _exit(9);
}

int main(void)
{
    char *a = malloc(100);
    if (!a) {
        say(2, "a: out of memory\n");
        _exit(1);
    }
    strcpy(a, "ended ");
    char *b = malloc(200);
    if (CHECKED && !b) {
        say(2, "b: out of memory\n");
        _exit(1);
    }
    strcat(strcpy(b, a), "early\n");
    say(1, b);
    _exit(0);
}
