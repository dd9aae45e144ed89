// Threads begin and end all the time, and each allocates.
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void *work(void *argument) {
    for (int round = 0; round < 200; round++) {
        char *block = malloc(100 + round);
        block[0] = block[99] = round;
        free(block);
    }
    return 0;
}
int main(void) {
    char told;
    fcntl(0, F_SETFL, O_NONBLOCK);
    puts("ready"); fflush(stdout);
    while (read(0, &told, 1) < 0) {
        pthread_t threads[4];
        for (int t = 0; t < 4; t++) pthread_create(&threads[t], 0, work, 0);
        for (int t = 0; t < 4; t++) pthread_join(threads[t], 0);
    }
    puts("right");
    return 0;
}
