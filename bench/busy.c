/* A process under a control thread: it counts what it gets done.
 *
 *     busy THREADS
 *
 * THREADS threads make pairs of malloc and free without a pause, of 16 to 255 bytes, with 4,096 blocks of each alive at a
 * time; with 0 it allocates nothing, and waits. For each line on stdin it prints a line: the pairs made so far, and the
 * nanoseconds of processor time that its threads have taken for them. It ends with stdin.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LIVE = 4096, MOST = 64, BATCH = 1024 };

static struct {
    _Alignas(128) atomic_ullong pairs;
    pthread_t thread;
} workers[MOST];

static void *work(void *place) {
    static __thread void *live[LIVE];
    uintptr_t worker = (uintptr_t)place;
    uint64_t state = 88172645463325252u + worker * 7919;
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char *block = malloc(16 + (state >> 20) % 240);
            if (!block) abort();
            block[0] = 1;
            free(live[state % LIVE]);
            live[state % LIVE] = block;
        }
        atomic_fetch_add_explicit(&workers[worker].pairs, BATCH, memory_order_relaxed);
    }
    return NULL;
}

int main(int count, char **arguments) {
    int threads = count == 2 ? atoi(arguments[1]) : -1;
    if (threads < 0 || threads > MOST) return 2;
    for (uintptr_t i = 0; i < (uintptr_t)threads; i++)
        if (pthread_create(&workers[i].thread, NULL, work, (void *)i)) return 1;
    char line[16];
    setvbuf(stdin, NULL, _IONBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        unsigned long long pairs = 0, time = 0;
        for (int i = 0; i < threads; i++) {
            clockid_t clock;
            struct timespec used;
            if (pthread_getcpuclockid(workers[i].thread, &clock) || clock_gettime(clock, &used)) return 1;
            time += used.tv_sec * 1000000000ull + used.tv_nsec;
            pairs += atomic_load_explicit(&workers[i].pairs, memory_order_relaxed);
        }
        printf("%llu %llu\n", pairs, time);
        fflush(stdout);
    }
}
