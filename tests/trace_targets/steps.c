// Allocates 7000, 7001 … bytes, with a static probe after each and a pause; then a child hits another probe, and ends when
// there is a file `seen`. With an argument it does so for ever.
#include <stdlib.h>
#include <sys/sdt.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments)
{
    do {
        for (int i = 0; i < 4; i++) {
            char *volatile block = malloc(7000 + i);
            usleep(2000);
            DTRACE_PROBE1(steps, step, i);
            usleep(2000);
            free(block);
        }
        pid_t child = fork();
        if (child == 0) {
            DTRACE_PROBE1(steps, child, 9);
            while (access("seen", F_OK)) usleep(1000);
            _exit(0);
        }
        waitpid(child, NULL, 0);
    } while (count > 1);
    return 0;
}
