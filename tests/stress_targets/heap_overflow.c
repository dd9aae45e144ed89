// Writes 8 bytes at a place behind the end of blocks of 48 bytes: over the header of what lies there, which stays as it is,
// into its bytes 16 to 23. The twin writes to the end of its blocks.
// function: make_block
// relation: before
// link: -pthread
#include "server.h"

enum { BLOCKS = 2048, SIZE = 48, DISTANCE = 64 };

char *blocks[BLOCKS];

NOINLINE static char *make_block(void)
{
    return use(malloc(SIZE), SIZE);
}

// Every block lies before a hole, where nothing is, or a chunk of the load's.
NOINLINE static void make_holes(void)
{
    char *holes[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = make_block(), holes[i] = make_block();
    for (int i = 0; i < BLOCKS; i++)
        free(holes[i]);
}

NOINLINE static void write_past_the_end(char *block)
{
    memset(block + (GOOD ? SIZE - 8 : DISTANCE + 16), 'A', 8);
}

static void tick(void)
{
    for (int i = 0; i < BLOCKS; i++)
        write_past_the_end(blocks[i]);
    // New blocks in the same places: those from before memtrial came, it does not know.
    for (int i = 0; i < BLOCKS; i++) {
        free(blocks[i]);
        blocks[i] = make_block();
    }
}

int main(void)
{
    make_holes();
    serve_and_tick(NULL, tick, 50);
}
