// Threads that allocate, resize and free, and look at all that they have written: `busy THREADS PAUSE`, where the pause is
// in microseconds. Whatever else goes on in the heap, no byte of theirs changes; else it aborts.
// The request `usable ADDRESS SIZE` aborts unless the block there is one of this allocator's, of that size.
// link: -pthread
#include "server.h"
#include <stdint.h>

enum { SLOTS = 256 };

struct worker {
    uint64_t state, seeds[SLOTS];
    uint64_t *blocks[SLOTS];
    size_t words[SLOTS];
};

static int pause_us = 1000;

static uint64_t random_of(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static void fill(struct worker *me, unsigned slot, size_t from)
{
    for (size_t word = from; word < me->words[slot]; word++)
        me->blocks[slot][word] = me->seeds[slot] + word;
}

static void compare(struct worker *me, unsigned slot, size_t words)
{
    for (size_t word = 0; word < words; word++)
        if (me->blocks[slot][word] != me->seeds[slot] + word)
            fprintf(stderr, "a block is damaged\n"), abort();
}

static void *work_for_good(void *argument)
{
    struct worker *me = argument;
    for (;;) {
        for (int i = 0; i < 20; i++) {
            uint64_t choice = random_of(&me->state);
            unsigned slot = choice % SLOTS;
            // Few are big.
            size_t words = 1 + (choice >> 20) % (choice >> 40 & 15 ? 64 : 4096), kept = me->words[slot];
            compare(me, slot, kept);
            if (choice >> 50 & 3) {
                free(me->blocks[slot]);
                me->blocks[slot] = malloc(words * sizeof(uint64_t));
                me->seeds[slot] = choice, kept = 0;
            } else {
                me->blocks[slot] = realloc(me->blocks[slot], words * sizeof(uint64_t));
                kept = kept < words ? kept : words;
            }
            if (!me->blocks[slot])
                fprintf(stderr, "no memory\n"), abort();
            me->words[slot] = words;
            compare(me, slot, kept);
            fill(me, slot, kept);
        }
        if (pause_us)
            usleep(pause_us);
    }
    return NULL;
}

static void work(const char *request)
{
    void *address;
    size_t size;
    if (sscanf(request, "usable %p %zu", &address, &size) != 2)
        return;
    void *own = malloc(size);
    // Another allocator would find something else before the block, or nothing.
    if (malloc_usable_size(own) != malloc_usable_size(address))
        fprintf(stderr, "a strange block\n"), abort();
    free(own);
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    if (argc > 2)
        pause_us = atoi(argv[2]);
    for (int i = 0; i < threads; i++) {
        struct worker *worker = calloc(1, sizeof *worker);
        worker->state = 88172645463325252u + i;
        start_thread(work_for_good, worker);
    }
    serve_and_tick(work, NULL, 0);
}
