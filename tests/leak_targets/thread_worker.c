// A thread that lives as long as the daemon leaves a block behind in every round.
// site: in_worker 1 x 320
// link: -pthread
#include "daemon.h"
#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned wanted, done;
void *kept[100000];

NOINLINE static void in_worker(unsigned round)
{
    void *one = use(malloc(320), 320);
    if (GOOD)
        free(one);
    else
        kept[round % 100000] = one;
}

static void *worker(void *nothing)
{
    pthread_mutex_lock(&lock);
    for (;;) {
        while (done == wanted)
            pthread_cond_wait(&changed, &lock);
        in_worker(++done);
        pthread_cond_broadcast(&changed);
    }
}

static void work(unsigned round)
{
    pthread_mutex_lock(&lock);
    wanted = round;
    pthread_cond_broadcast(&changed);
    while (done != wanted)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

int main(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, worker, NULL))
        abort();
    serve(work);
}
