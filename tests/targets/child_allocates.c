// A forked child makes the allocation itself, crashes on it, and the parent does not ask how the child ended.
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
    pid_t child = fork();
    if (child == 0) {
        char *volatile job = malloc(100); // volatile: no compiler may leave the allocation out
        if (CHECKED && !job) {
            static const char text[] = "job: out of memory\n";
            _exit(write(2, text, sizeof text - 1) < 0 ? 2 : 1);
        }
        *(volatile char *)job = 'w'; // volatile: no compiler may leave the store out
        free(job);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (CHECKED && status != 0)
        return 1;
    static const char text[] = "done\n";
    return write(1, text, sizeof text - 1) < 0 ? 2 : 0;
}
