// A forked child crashes on what its parent failed to allocate, and the parent does not ask how the child
// ended.
// expect: crashed
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    char *volatile job = malloc(100); // volatile: no compiler may leave the allocation out
    if (CHECKED && !job) {
        fputs("job: out of memory\n", stderr);
        return 1;
    }
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        *(volatile char *)job = 'w'; // volatile: no compiler may leave the store out
        _exit(0);
    }
    waitpid(child, NULL, 0); // the status is thrown away
    static const char text[] = "done\n";
    if (write(1, text, sizeof text - 1) < 0)
        return 2;
    free(job);
    return 0;
}
