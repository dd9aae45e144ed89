/* Allocates chunks of random sizes in a plain loop, and keeps of each what freeing by size needs.
 *
 *     plain_alloc MIN MAX TOTAL [thread]
 *
 * Allocates chunks of MIN to MAX bytes until TOTAL bytes are held, and writes to each page of each. Of each chunk it keeps,
 * in mapped memory, its pointer, its size, and its links in the list of the chunks of like size: 24 bytes. One size in
 * eight has a list of its own from each power of two to the next, so that the largest chunk not above a size is found
 * without a search. With `thread` a second thread does so, which malloc gives an arena of its own. Prints the nanoseconds
 * that it took by the clock, those of the processor, the chunks, and the nanoseconds to free all.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096, STEPS = 8, LISTS = 64 * STEPS, NONE = -1 };

struct chunk {
    char *address;
    uint64_t size;
    int32_t next, previous;
};

static struct chunk *chunks;
static int32_t lists[LISTS];
static size_t room, used;
static uint64_t least, most, wanted;

static uint64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static unsigned list_of(uint64_t size) {
    if (size < STEPS) return size;
    unsigned power = 63 - __builtin_clzll(size);
    return power * STEPS + (size >> (power - 3)) % STEPS;
}

static int keep(char *address, uint64_t size) {
    if (used == room) {
        size_t more = room ? room * 2 : 4096;
        void *place = room ? mremap(chunks, room * sizeof *chunks, more * sizeof *chunks, MREMAP_MAYMOVE)
                           : mmap(NULL, more * sizeof *chunks, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (place == MAP_FAILED) return 0;
        chunks = place;
        room = more;
    }
    int32_t *list = &lists[list_of(size)];
    chunks[used] = (struct chunk){address, size, *list, NONE};
    if (*list != NONE) chunks[*list].previous = used;
    *list = used++;
    return 1;
}

static void *work(void *unused) {
    (void)unused;
    memset(lists, 0xff, sizeof lists);
    uint64_t state = 88172645463325252u, span = most - least + 1;
    uint64_t clock = now(CLOCK_MONOTONIC), processor = now(CLOCK_THREAD_CPUTIME_ID);
    for (uint64_t held = 0; held < wanted;) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        uint64_t size = least + state % span;
        if (size > wanted - held) size = wanted - held;
        char *address = malloc(size);
        if (!address) exit(1);
        for (uint64_t at = 0; at < size; at += PAGE) ((volatile char *)address)[at] = 1;
        if (!keep(address, size)) exit(1);
        held += size;
    }
    clock = now(CLOCK_MONOTONIC) - clock;
    processor = now(CLOCK_THREAD_CPUTIME_ID) - processor;
    uint64_t freed = now(CLOCK_MONOTONIC);
    for (size_t i = 0; i < used; i++) free(chunks[i].address);
    freed = now(CLOCK_MONOTONIC) - freed;
    printf("%llu %llu %zu %llu\n", (unsigned long long)clock, (unsigned long long)processor, used,
           (unsigned long long)freed);
    return NULL;
}

int main(int count, char **arguments) {
    if (count < 4) return 2;
    least = strtoull(arguments[1], NULL, 10);
    most = strtoull(arguments[2], NULL, 10);
    wanted = strtoull(arguments[3], NULL, 10);
    if (!least || least > most || most > wanted) return 2;
    if (count == 4) {
        work(NULL);
        return 0;
    }
    pthread_t thread;
    return pthread_create(&thread, NULL, work, NULL) || pthread_join(thread, NULL);
}
