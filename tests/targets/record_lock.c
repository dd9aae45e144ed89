// Ends with success and no output when it cannot allocate while it holds a record lock.
// expect: silent
// never: crashed,corrupted,hung,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int lock(int fd, int bytes)
{
    struct flock range;
    memset(&range, 0, sizeof range);
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    range.l_len = bytes;
    return fcntl(fd, F_SETLK, &range);
}

int main(void)
{
    static char fallback[100];
    int fd = open("lock", O_RDWR | O_CREAT, 0644);
    if (fd < 0 || lock(fd, 1))
        return 3;
    char *p = malloc(100), *line = p;
    if (!p) {
        if (!CHECKED)
            return 0;
        line = fallback;
    }
    if (lock(fd, 2)) // a clone is another process: it does not hold the first lock, and cannot widen it
        return 4;
    strcpy(line, "locked\n");
    int failed = write(1, line, strlen(line)) < 0;
    free(p);
    return failed;
}
