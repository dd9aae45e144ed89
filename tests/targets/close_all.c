// Closes every descriptor, whoever opened it, and then goes on to allocate; the last allocation is not
// checked.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

static char *volatile kept;

int main(void)
{
    char *before = malloc(100);
    if (!before)
        return 3;
    kept = before;
    if (syscall(SYS_close_range, 0U, ~0U, 0U) != 0)
        for (int fd = 0; fd < 65536; fd++)
            close(fd);
    char *after = malloc(200);
    if (!after)
        return 4;
    *(volatile char *)after = 'a';
    kept = after;
    char *last = malloc(300);
    if (CHECKED && !last)
        return 5;
    *(volatile char *)last = 'b';
    kept = last;
    free(before);
    free(after);
    free(last);
    return 0;
}
