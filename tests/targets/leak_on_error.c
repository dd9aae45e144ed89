// The error path loses a block that the good path frees.
// expect: leaked
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --leaks
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) static int join(char **out)
{
    char *left = malloc(100);
    if (!left)
        return -1;
    strcpy(left, "left");
    *out = malloc(200);
    if (!*out) {
        if (CHECKED)
            free(left);
        return -1;
    }
    sprintf(*out, "%s right", left);
    free(left);
    return 0;
}

__attribute__((noinline)) static void wipe_stack(void)
{
    volatile char wiped[2000]; // no stale pointer may keep the block reachable
    memset((char *)wiped, 0, sizeof wiped);
}

int main(void)
{
    static char *text;
    int status = join(&text);
    wipe_stack();
    if (status) {
        fputs("out of memory\n", stderr);
        return 1;
    }
    puts(text);
    free(text);
    return 0;
}
