// Takes for granted that there is memory. The twin does without.
// link: -pthread
#include "server.h"

NOINLINE static void fill_buffer(void)
{
    enum { SIZE = 1 << 20 };
    char *buffer = malloc(SIZE);
    if (!buffer && GOOD)
        return;
    memset(buffer, 1, SIZE);
    __asm__ volatile("" : : "r"(buffer) : "memory");
    free(buffer);
}

int main(void)
{
    // Each buffer is mapped and unmapped: nothing is left over of the one before.
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    serve_and_tick(NULL, fill_buffer, 20);
}
