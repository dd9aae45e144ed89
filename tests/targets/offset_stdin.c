// Reads standard input piece by piece, at an offset that a clone would share, and drops a piece when memory
// runs out.
// expect: silent,handled
// never: crashed,corrupted,hung,misreported,asserted,aborted,damaged,unreached
// options: --every
// run: < the quick brown fox jumps\nover it\n
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "%s: out of memory\n", what);
    exit(1);
}

int main(void)
{
    int fd = 0;
    unsigned long sum = 0;
    for (int piece = 0; piece < 4; piece++) {
        unsigned char *block = malloc(8);
        if (!block) {
            if (!CHECKED && piece == 2) { // goes on without the piece
                char lost[8];
                if (read(fd, lost, 8) < 0)
                    return 2;
                continue;
            }
            die("block");
        }
        ssize_t got = read(fd, block, 8);
        for (ssize_t i = 0; i < got; i++)
            sum = sum * 31 + block[i];
        free(block);
    }
    char *line = malloc(64);
    if (!line)
        die("line");
    int length = snprintf(line, 64, "%lu\n", sum);
    int failed = write(1, line, length) != length;
    free(line);
    return failed;
}
