// Four threads allocate and free without rest while one block a round stays.
// site: remember 1 x 64
// link: -pthread
#include "daemon.h"
#include <pthread.h>

void *kept[100000];

static void *busy(void *seed)
{
    unsigned state = (unsigned)(size_t)seed;
    void *blocks[64] = {0};
    for (;;) {
        for (int i = 0; i < 256; i++) {
            state = state * 1664525 + 1013904223;
            unsigned at = state >> 26, size = 16 + (state >> 12 & 2047);
            free(blocks[at]);
            blocks[at] = use(malloc(size), size);
        }
        // The machine is not theirs alone.
        usleep(200);
    }
}

NOINLINE static void remember(unsigned round)
{
    void *one = use(malloc(64), 64);
    if (GOOD)
        free(one);
    else
        kept[round % 100000] = one;
}

int main(void)
{
    pthread_t thread;
    for (size_t i = 1; i <= 4; i++)
        if (pthread_create(&thread, NULL, busy, (void *)i))
            abort();
    serve(remember);
}
