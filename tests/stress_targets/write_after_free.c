// Writes 8 bytes into blocks of 48 bytes that it has freed: into their bytes 16 to 23, where the allocator keeps nothing.
// The twin has forgotten them.
// function: make_block
// relation: freed
// link: -pthread
#include "server.h"

enum { BLOCKS = 256, SIZE = 48 };

char *freed[BLOCKS];

NOINLINE static char *make_block(void)
{
    return use(malloc(SIZE), SIZE);
}

// Between any two blocks one is kept: else the allocator would make one of the free ones, and cut it up elsewhere.
NOINLINE static void make_and_free(void)
{
    for (int i = 0; i < BLOCKS; i++)
        freed[i] = make_block(), make_block();
    for (int i = 0; i < BLOCKS; i++)
        free(freed[i]);
}

NOINLINE static void write_after_free(char *block)
{
    if (!GOOD)
        memset(block + 16, 'A', 8);
}

static void tick(void)
{
    static unsigned ticks;
    for (int i = 0; i < BLOCKS; i++)
        write_after_free(freed[i]);
    // Between making and writing is time for the load to get the places.
    if (++ticks % 2 == 0)
        make_and_free();
}

int main(void)
{
    make_and_free();
    serve_and_tick(NULL, tick, 50);
}
