// All threads wait for a condition that only a signal makes true.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static volatile int woken;
static void told(int signal) {
    write(1, woken ? "wrong\n" : "right\n", 6);
    _exit(0);
}
static void *wait_for_it(void *argument) {
    pthread_mutex_lock(&mutex);
    if (argument) { puts("ready"); fflush(stdout); }
    for (;;) {
        pthread_cond_wait(&condition, &mutex);
        woken++;
    }
}
int main(void) {
    pthread_t thread;
    signal(SIGUSR1, told);
    for (int t = 0; t < 3; t++) pthread_create(&thread, 0, wait_for_it, 0);
    wait_for_it(&thread);
}
