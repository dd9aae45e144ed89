// Crashes, but a SIGSEGV handler of its own turns the crash into a message and exit status 1.
// expect: crashed
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_segv(int signal)
{
    static const char text[] = "internal error, sorry\n";
    (void)signal;
    if (write(2, text, sizeof text - 1) < 0)
        _exit(2);
    _exit(1);
}

int main(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_segv;
    sigaction(SIGSEGV, &action, NULL);

    char *p = malloc(100);
    if (CHECKED && !p) {
        fputs("out of memory\n", stderr);
        return 1;
    }
    strcpy(p, "hello");
    puts(p);
    free(p);
    return 0;
}
