// An interval timer fires all the time, in the middle of allocations; the last one is not checked.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

static void die(const char *what)
{
    fprintf(stderr, "%s: out of memory\n", what);
    exit(1);
}

static volatile sig_atomic_t ticks;

static void on_tick(int signal)
{
    (void)signal;
    ticks++;
}

int main(void)
{
    struct itimerval each = {{0, 500}, {0, 500}};
    struct timespec nap = {0, 600000};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_tick;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &each, NULL);
    unsigned long sum = 0;
    for (int i = 1; i <= 10; i++) {
        char *p = malloc(100 * i);
        if (!p)
            die("p");
        memset(p, i, 100 * i);
        sum += p[i];
        free(p);
        nanosleep(&nap, NULL);
    }
    char *last = malloc(50);
    if (CHECKED && !last)
        die("last");
    snprintf(last, 50, "%lu\n", sum);
    fputs(last, stderr);
    free(last);
    return 0;
}
