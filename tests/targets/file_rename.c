// Puts a file together, and renames it into place even when a part is missing.
// expect: silent,handled
// never: crashed,corrupted,hung,misreported,asserted,aborted,damaged,unreached
// watch: out.txt
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "%s: out of memory\n", what);
    exit(1);
}

static int incomplete;

__attribute__((noinline)) static void part(int fd, const char *text)
{
    char *copy = strdup(text);
    if (!copy || write(fd, copy, strlen(copy)) < 0)
        incomplete = 1;
    free(copy);
}

int main(void)
{
    int fd = open("out.tmp", O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0) {
        fputs("out.tmp is there already\n", stderr);
        return 3;
    }
    part(fd, "one\n");
    part(fd, "two\n");
    close(fd);
    if (CHECKED && incomplete) {
        unlink("out.tmp");
        die("out.txt");
    }
    if (rename("out.tmp", "out.txt"))
        return 4;
    char *done = malloc(100);
    if (!done)
        die("done");
    strcpy(done, "renamed\n");
    int failed = write(1, done, strlen(done)) < 0;
    free(done);
    return failed;
}
