// Sleeps when memory runs out, under an alarm whose handler only takes a note: it never ends.
// expect: hung
// never: crashed,corrupted,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static volatile sig_atomic_t rang;

static void say(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) < 0)
        _exit(9);
}

static void on_alarm(int signal)
{
    rang = signal;
    if (CHECKED) {
        say(2, "watchdog: no memory in time\n");
        _exit(1);
    }
}

int main(void)
{
    struct itimerval soon = {{0, 0}, {3, 0}};
    signal(SIGALRM, on_alarm);
    setitimer(ITIMER_REAL, &soon, NULL); // what alarm() does; a clone does not inherit it
    char *p = malloc(100);
    while (!p)
        pause();
    strcpy(p, "in time\n");
    say(1, p);
    free(p);
    return 0;
}
