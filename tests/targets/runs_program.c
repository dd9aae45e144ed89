// Runs another program and goes on to allocate; the last allocation is not checked.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// needs: handled
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

// The program of this name beside our own.
static const char *beside(const char *name)
{
    static char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 100);
    while (length > 0 && path[length - 1] != '/')
        length--;
    strcpy(path + (length > 0 ? length : 0), name);
    return path;
}

int main(void)
{
    char *command = malloc(5000);
    if (!command)
        die("command");
    sprintf(command, "'%s' 2>/dev/null", beside("handled"));
    int status = system(command);
    free(command);
    if (status != 0) {
        fputs("handled: failed\n", stderr);
        return 3;
    }
    char *line = malloc(100);
    if (CHECKED && !line)
        die("line");
    strcpy(line, "ran it\n");
    status = write(1, line, strlen(line)) < 0;
    free(line);
    return status;
}
