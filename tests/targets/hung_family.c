// The error path starts processes, one of them in a session of its own and one that has lost its parent, and waits
// for them without end.
// expect: hung
// never: crashed,corrupted,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void start_one(int orphan)
{
    pid_t child = fork();
    if (child == 0) {
        setsid();
        if (orphan && fork() != 0)
            _exit(0);
        if (CHECKED)
            _exit(0);
        for (;;)
            pause();
    }
}

int main(void)
{
    char *p = malloc(100);
    if (!p) {
        static const char text[] = "out of memory\n";
        if (write(2, text, sizeof text - 1) < 0)
            return 2;
        start_one(0);
        start_one(1);
        while (wait(NULL) > 0)
            continue;
        return 1;
    }
    p[0] = 'p';
    printf("%c\n", p[0]);
    free(p);
    return 0;
}
