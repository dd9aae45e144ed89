// Holds the lock that requests need while it waits for its heap to become small again. The twin waits without it.
// link: -pthread
#include "server.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int is_large(void)
{
    return mallinfo2().uordblks > 4 << 20;
}

static void *wait_for_memory(void *nothing)
{
    for (;; usleep(10000)) {
        if (!GOOD)
            pthread_mutex_lock(&lock);
        while (is_large())
            usleep(10000);
        if (!GOOD)
            pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void work(const char *request)
{
    pthread_mutex_lock(&lock);
    pthread_mutex_unlock(&lock);
}

int main(void)
{
    start_thread(wait_for_memory, NULL);
    serve_and_tick(work, NULL, 0);
}
