// Reads a file piece by piece through one file offset, which a clone would share, and drops a piece when
// memory runs out.
// expect: silent,handled
// never: crashed,corrupted,hung,misreported,asserted,aborted,damaged,unreached
// options: --every
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <fcntl.h>
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
    int fd = open("/proc/self/exe", O_RDONLY);
    unsigned long sum = 0;
    for (int piece = 0; piece < 4; piece++) {
        unsigned char *block = malloc(512);
        if (!block) {
            if (!CHECKED && piece == 2) { // goes on without the piece
                lseek(fd, 512, SEEK_CUR);
                continue;
            }
            die("block");
        }
        ssize_t got = read(fd, block, 512);
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
