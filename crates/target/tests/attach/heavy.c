// Threads that do nothing but allocate; every block holds what was written to it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifndef THREADS
#define THREADS 4
#endif
static volatile int stop;
static unsigned long wrong;
static size_t size_of(uint64_t r) { return (r >> 20) % 1000 == 0 ? 300000 : 16 + (r >> 20) % ((r >> 40) % 4 ? 200 : 9000); }
static void *work(void *argument) {
    uint64_t s = (uintptr_t)argument * 2654435761u + 1, round = 0;
    unsigned char *blocks[512] = {0};
    size_t sizes[512];
    while (!stop) {
        s ^= s << 13; s ^= s >> 7; s ^= s << 17;
        int k = s & 511;
        if (blocks[k]) {
            if (blocks[k][0] != (k & 255) || blocks[k][sizes[k] - 1] != (k & 255)) __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
            if ((s >> 10) % 3 == 0) {
                size_t size = size_of(s);
                blocks[k] = realloc(blocks[k], size);
                if (blocks[k][0] != (k & 255)) __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
                sizes[k] = size;
                blocks[k][size - 1] = k;
                continue;
            }
            free(blocks[k]);
        }
        sizes[k] = size_of(s);
        blocks[k] = (s >> 12) & 1 ? malloc(sizes[k]) : calloc(1, sizes[k]);
        blocks[k][0] = blocks[k][sizes[k] - 1] = k;
        char told;
        if (argument == (void *)1 && (++round & 4095) == 0 && read(0, &told, 1) >= 0) stop = 1;
    }
    for (int k = 0; k < 512; k++) free(blocks[k]);
    return 0;
}
int main(void) {
    pthread_t threads[THREADS];
    fcntl(0, F_SETFL, O_NONBLOCK);
    for (long t = 1; t < THREADS; t++) pthread_create(&threads[t], 0, work, (void *)(t + 1));
    puts("ready"); fflush(stdout);
    work((void *)1);
    for (int t = 1; t < THREADS; t++) pthread_join(threads[t], 0);
    puts(wrong ? "wrong" : "right");
    return 0;
}
