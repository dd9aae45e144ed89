// A thread is made in every round and waits for good; the twin's ends.
// link: -pthread
#include "daemon.h"
#include <pthread.h>

static void *wait_for_good(void *nothing)
{
    while (!GOOD)
        pause();
    return NULL;
}

NOINLINE static void start_thread(unsigned round)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    if (pthread_create(&thread, &attributes, wait_for_good, NULL))
        abort();
    if (GOOD)
        pthread_join(thread, NULL);
}

int main(void)
{
    serve(start_thread);
}
