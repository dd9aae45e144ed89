// One thread, with a stack as small as can be, that allocates in a tight loop; errno must stay as it is.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static int wrong;
static void *work(void *argument) {
    char told;
    for (unsigned long round = 1;; round++) {
        errno = 77;
        void *volatile block = malloc(100);
        free(block);
        if (errno != 77) wrong = 1;
        if ((round & 65535) == 0 && read(0, &told, 1) >= 0) break;
    }
    return 0;
}
int main(void) {
    pthread_t thread;
    pthread_attr_t attributes;
    fcntl(0, F_SETFL, O_NONBLOCK);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN);
    puts("ready"); fflush(stdout);
    pthread_create(&thread, &attributes, work, 0);
#ifdef ALONE
    pthread_exit(0);
#endif
    pthread_join(thread, 0);
    puts(wrong ? "wrong" : "right");
    return 0;
}
