// Allocates and frees blocks of 4242 bytes all the time in as many threads as it is told, each block filled and looked at.
// It ends with status 1 when one has changed.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *work(void *unused)
{
    for (;;) {
        char *block = malloc(4242);
        memset(block, 7, 4242);
        usleep(500);
        for (int i = 0; i < 4242; i++)
            if (block[i] != 7)
                _exit(1);
        free(block);
    }
    return NULL;
}

int main(int count, char **arguments)
{
    for (int i = 1; count > 1 && i < atoi(arguments[1]); i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, work, NULL);
    }
    work(NULL);
}
