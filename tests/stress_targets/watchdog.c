// A watchdog that ends the program when its heap is larger than it ever should be. The twin only says so.
// link: -pthread
#include "server.h"

static void look(void)
{
    if (mallinfo2().uordblks < 4 << 20)
        return;
    if (!GOOD)
        abort();
    static int said;
    if (!said++)
        fprintf(stderr, "the heap is large\n");
}

int main(void)
{
    serve_and_tick(NULL, look, 20);
}
