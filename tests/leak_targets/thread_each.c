// A thread made for each request leaves a block behind.
// site: in_thread 1 x 256
// link: -pthread
#include "daemon.h"
#include <pthread.h>

void *kept[100000];

NOINLINE static void *in_thread(void *round)
{
    void *one = use(malloc(256), 256);
    if (GOOD)
        free(one);
    else
        kept[(size_t)round % 100000] = one;
    return NULL;
}

static void work(unsigned round)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, in_thread, (void *)(size_t)round))
        abort();
    pthread_join(thread, NULL);
}

int main(void)
{
    serve(work);
}
