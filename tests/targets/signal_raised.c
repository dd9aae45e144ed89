// A signal handler runs between allocations, of which the last is not checked.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what)
{
    fprintf(stderr, "%s: out of memory\n", what);
    exit(1);
}

static volatile sig_atomic_t seen;

static void on_signal(int signal)
{
    (void)signal;
    seen++;
}

int main(void)
{
    signal(SIGUSR1, on_signal);
    char *a = malloc(100);
    if (!a)
        die("a");
    strcpy(a, "signals: ");
    raise(SIGUSR1);
    char *b = malloc(200);
    if (!b)
        die("b");
    raise(SIGUSR1);
    char *c = malloc(300);
    if (CHECKED && !c)
        die("c");
    strcpy(b, a);
    sprintf(c, "%s%d\n", b, (int)seen);
    fputs(c, stderr);
    free(a);
    free(b);
    free(c);
    return seen != 2;
}
