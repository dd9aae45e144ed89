// Fails half way through rewriting its state file in place, and leaves it broken.
// expect: damaged
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,unreached
// check: test ! -e state || tail -n 1 state | grep -qx end
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) < 0)
        _exit(2);
}

// Writes the state with one allocation between its halves; -1 when that fails.
__attribute__((noinline)) static int save(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    put(fd, "begin\n");
    char *line = malloc(strlen(value) + 2);
    if (!line) {
        close(fd);
        return -1;
    }
    strcpy(line, value);
    put(fd, strcat(line, "\n"));
    put(fd, "end\n");
    free(line);
    return close(fd);
}

int main(void)
{
    const char *path = CHECKED ? "state.new" : "state";
    if (save(path, "old") || (CHECKED && rename(path, "state")) || save(path, "new") || (CHECKED && rename(path, "state"))) {
        unlink("state.new");
        fputs("state not saved\n", stderr);
        return 1;
    }
    put(1, "saved\n");
    return 0;
}
