// Writes less into a file than it should, with the same standard output and status 0.
// expect: silent
// never: crashed,corrupted,hung,misreported,asserted,aborted,damaged,unreached
// watch: report.txt
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((noinline)) static int line(int fd, const char *text)
{
    char *copy = malloc(strlen(text) + 1);
    if (!copy)
        return 1;
    strcpy(copy, text);
    int failed = write(fd, copy, strlen(copy)) < 0;
    free(copy);
    return failed;
}

int main(void)
{
    int fd = open("report.txt", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int failed = fd < 0;
    failed |= line(fd, "one\n");
    failed |= line(fd, "two\n");
    close(fd);
    if (CHECKED && failed) {
        fputs("report.txt: incomplete, out of memory\n", stderr);
        return 1;
    }
    static const char text[] = "report written\n";
    return write(1, text, sizeof text - 1) < 0 ? 2 : 0;
}
