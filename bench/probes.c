/* Hits a static probe a number of times: probes zero|five HITS. Prints nanoseconds a hit, by the clock.
   `zero` has no argument; `five` has a number, a text, two numbers in memory, and a number. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sdt.h>
#include <time.h>

struct channel {
    int fd;
    uint64_t offset;
};

__attribute__((noinline)) static void hit_zero(void) {
    STAP_PROBE(bench, zero);
}

__attribute__((noinline)) static void hit_five(uint64_t number, const char *name, const struct channel *channel,
                                               uint32_t bytes) {
    STAP_PROBE5(bench, five, number, name, channel->fd, channel->offset, bytes);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    uint64_t hits = strtoull(argv[2], NULL, 10);
    int five = strcmp(argv[1], "five") == 0;
    struct channel channel = {7, 0};
    struct timespec begun, ended;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    for (uint64_t i = 0; i < hits; i++) {
        channel.offset = i * 512;
        if (five)
            hit_five(i, "chan-4711", &channel, (uint32_t)(i * 3));
        else
            hit_zero();
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double taken = (ended.tv_sec - begun.tv_sec) * 1e9 + (ended.tv_nsec - begun.tv_nsec);
    printf("%.2f\n", taken / hits);
    return 0;
}
