// Waits for any child, so that it would see a clone that is its child; the allocation after that is not
// checked.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "%s: out of memory\n", what);
    exit(1);
}

__attribute__((noinline)) static void job(int status)
{
    char *p = malloc(100);
    if (!p)
        die("job");
    memset(p, status, 100);
    if (fork() == 0)
        _exit(p[0]);
    free(p);
}

int main(void)
{
    int ended = 0, sum = 0, status;
    job(3);
    job(4);
    while (wait(&status) > 0) {
        ended++;
        sum += WEXITSTATUS(status);
    }
    char *line = malloc(100);
    if (CHECKED && !line)
        die("line");
    int length = sprintf(line, "%d children, sum %d\n", ended, sum);
    int failed = write(1, line, length) != length;
    free(line);
    return failed;
}
