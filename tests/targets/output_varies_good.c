// Prints its process id and the time: output that differs from run to run is not a failure hidden.
// expect: handled,tolerated
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    static char fallback[100];
    struct timespec now;
    char *a = malloc(100), *line = a ? a : fallback;
    clock_gettime(CLOCK_REALTIME, &now);
    int length = snprintf(line, 100, "%d %ld.%09ld\n", (int)getpid(), (long)now.tv_sec, now.tv_nsec);
    char *b = malloc(200);
    if (!b) {
        fputs("out of memory\n", stderr);
        return 1;
    }
    memcpy(b, line, length);
    int failed = write(1, b, length) != length;
    free(a);
    free(b);
    return failed;
}
