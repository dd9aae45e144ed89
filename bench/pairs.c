/* Allocates and frees: THREADS threads make PAIRS pairs of malloc and free each, of 16 to 255 bytes, with 4,096 blocks of
 * each thread alive at a time, some 14 frames deep, on 8 different stacks.
 *
 *     pairs THREADS PAIRS
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

enum { LIVE = 4096, MOST = 64 };

static __thread void *live[LIVE];
static __thread uint64_t state;
static long pairs;

static uint64_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

#define FRAME __attribute__((noinline)) static void
/* Behind a call it keeps the compiler from making a jump of it. */
#define KEEP __asm__ volatile("" ::: "memory")

FRAME pair(unsigned way) {
    uint64_t random = next();
    int slot = random % LIVE;
    free(live[slot]);
    char *block = malloc(16 + (random >> 20) % 240);
    if (block) block[0] = (char)way;
    live[slot] = block;
    KEEP;
}

/* Two places to call from, which one bit of `way` chooses between; frames of different sizes. */
#define STEP(name, below, bytes)                     \
    FRAME name(unsigned way) {                       \
        char room[bytes];                            \
        __asm__ volatile("" ::"r"(room) : "memory"); \
        if (way & 1) {                               \
            below(way >> 1);                         \
            KEEP;                                    \
        } else {                                     \
            below(way >> 1);                         \
            __asm__ volatile("nop" ::: "memory");    \
        }                                            \
    }
STEP(step1, pair, 24)
STEP(step2, step1, 32)
STEP(step3, step2, 40)
STEP(step4, step3, 48)
STEP(step5, step4, 56)
STEP(step6, step5, 64)
STEP(step7, step6, 72)
STEP(step8, step7, 80)
STEP(step9, step8, 88)

static void *work(void *seed) {
    state = 88172645463325252u + (uintptr_t)seed * 7919;
    for (long i = 0; i < pairs; i++) step9(i & 7);
    for (int i = 0; i < LIVE; i++) free(live[i]);
    return NULL;
}

int main(int count, char **arguments) {
    int threads = count > 1 ? atoi(arguments[1]) : 1;
    pairs = count > 2 ? atol(arguments[2]) : 1000000;
    if (threads < 1 || threads > MOST) return 2;
    pthread_t others[MOST];
    for (uintptr_t i = 1; i < (uintptr_t)threads; i++)
        if (pthread_create(&others[i], NULL, work, (void *)i)) return 1;
    work(NULL);
    for (int i = 1; i < threads; i++) pthread_join(others[i], NULL);
    return 0;
}
