/* Holds memory and notes how long it was made to stand still.
 *
 *     held MEGABYTES THREADS FIFO
 *
 * Holds so many megabytes of linked blocks of 64 bytes to 1 KiB, in which THREADS threads allocate and free without a
 * pause; with 0 threads it sleeps in poll. A further thread reads the clock without a pause. For each line that comes
 * through FIFO it prints a line: the longest time since the last one in which the clock was not read, then the longest
 * of which the kernel says that this thread did not merely wait for a processor, both in microseconds.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LIVE = 4096, MOST = 64 };

struct block {
    struct block *next;
};

static struct block *volatile held;
static atomic_int asked;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

/* Nanoseconds that this thread has waited for a processor: the second word of its schedstat. */
static uint64_t waited(int statistics) {
    char text[128] = "";
    if (pread(statistics, text, sizeof text - 1, 0) <= 0) return 0;
    char *word = strchr(text, ' ');
    return word ? strtoull(word, NULL, 10) : 0;
}

static void *watch(void *unused) {
    (void)unused;
    int statistics = open("/proc/thread-self/schedstat", O_RDONLY);
    uint64_t longest = 0, stood = 0, last = now(), before = waited(statistics);
    for (;;) {
        uint64_t time = now(), gap = time - last;
        if (gap > 20000) {
            uint64_t all = waited(statistics), meanwhile = all - before;
            before = all;
            if (gap > longest) longest = gap;
            if (gap > meanwhile && gap - meanwhile > stood) stood = gap - meanwhile;
            time = now();
        }
        last = time;
        if (asked) {
            printf("%llu %llu\n", (unsigned long long)longest / 1000, (unsigned long long)stood / 1000);
            fflush(stdout);
            longest = stood = 0;
            asked--;
            before = waited(statistics);
            last = now();
        }
    }
    return NULL;
}

static void *work(void *seed) {
    static __thread void *live[LIVE];
    uint64_t state = 88172645463325252u + (uintptr_t)seed * 7919;
    for (;;) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        free(live[state % LIVE]);
        live[state % LIVE] = malloc(16 + (state >> 20) % 240);
    }
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    size_t wanted = strtoull(arguments[1], NULL, 10) << 20;
    int threads = atoi(arguments[2]);
    if (threads < 0 || threads > MOST) return 2;
    for (size_t bytes = 0, i = 0; bytes < wanted; i++) {
        size_t size = 64 << i % 5;
        struct block *block = malloc(size);
        if (!block) return 1;
        memset(block, 1, size);
        block->next = held;
        held = block;
        bytes += size;
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, watch, NULL)) return 1;
    for (uintptr_t i = 0; i < (uintptr_t)threads; i++)
        if (pthread_create(&thread, NULL, work, (void *)i)) return 1;
    int fifo = open(arguments[3], O_RDWR);
    struct pollfd ready = {fifo, POLLIN, 0};
    puts("ready");
    fflush(stdout);
    for (;;) {
        char text[64];
        if (poll(&ready, 1, -1) <= 0) continue;
        ssize_t length = read(fifo, text, sizeof text);
        for (ssize_t i = 0; i < length; i++) asked += text[i] == '\n';
    }
}
