// One thread changes its user all the time, to what it is, for which all others have to do the same; they wait.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
static void *wait_for_good(void *argument) {
    for (;;) pause();
}
int main(void) {
    char told;
    pthread_t thread;
    for (int t = 0; t < 3; t++) pthread_create(&thread, 0, wait_for_good, 0);
    fcntl(0, F_SETFL, O_NONBLOCK);
    puts("ready"); fflush(stdout);
    while (read(0, &told, 1) < 0)
        if (setresuid(-1, -1, -1)) return 1;
    puts("right");
    return 0;
}
