// Starts /bin/true by posix_spawn and by vfork between allocations; the last one is not checked.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <spawn.h>
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

extern char **environ;

int main(void)
{
    char *arguments[] = {strdup("true"), NULL};
    if (!arguments[0])
        die("arguments");
    pid_t child;
    int status = 0, sum;
    if (posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ))
        die("spawn");
    waitpid(child, &status, 0);
    sum = status;
    char *between = malloc(100);
    if (!between)
        die("between");
    strcpy(between, "true ");
    child = vfork();
    if (child == 0) {
        execve("/bin/true", arguments, environ);
        _exit(127);
    }
    waitpid(child, &status, 0);
    sum += status;
    char *line = malloc(200);
    if (CHECKED && !line)
        die("line");
    int length = sprintf(line, "%s%d\n", between, sum);
    status = write(1, line, length) != length;
    free(arguments[0]);
    free(between);
    free(line);
    return status;
}
