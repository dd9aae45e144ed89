// Four threads, each of which allocates 5000 blocks of 10000 * its number + 1, + 2 … bytes. When all are done, the process is
// killed by SIGKILL.
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

static void *allocate(void *number)
{
    for (uintptr_t i = 1; i <= 5000; i++) {
        char *volatile block = malloc(10000 * (uintptr_t)number + i);
        free(block);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, allocate, (void *)(i + 1));
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    kill(getpid(), SIGKILL);
    return 1;
}
