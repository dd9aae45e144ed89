// A process, its child, and what that becomes: itself with an argument. Each allocates a block of its own size; pids go to
// stdout.
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void allocate(size_t size)
{
    char *volatile block = malloc(size);
    free(block);
}

int main(int count, char **arguments)
{
    if (count > 1) {
        allocate(3003);
        return 7;
    }
    allocate(1001);
    pid_t child = fork();
    if (child == 0) {
        allocate(2002);
        execl(arguments[0], arguments[0], "again", NULL);
        _exit(1);
    }
    int status;
    waitpid(child, &status, 0);
    char told[64];
    int length = snprintf(told, sizeof told, "%d %d %d\n", getpid(), child, WEXITSTATUS(status));
    return write(1, told, length) == length ? 0 : 1;
}
