// What is live after a round is the same after each, and yet the heap grows: every round needs 16 KiB more at once than
// the one before, and a block that is allocated last keeps the top of the heap from going back. The twin needs the same
// each time.
#include "daemon.h"

enum { piece = 1024, more = 16, most = 20000 };
static void *pieces[most];
static void *top;

NOINLINE static void need(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        pieces[i] = use(malloc(piece), piece);
    // Of a size that no hole is left of.
    void *next = use(malloc(2000), 2000);
    for (unsigned i = 0; i < count; i++)
        free(pieces[i]);
    free(top);
    top = next;
}

static void work(unsigned round)
{
    unsigned count = more * (GOOD ? 32 : round);
    need(count < most ? count : most);
}

int main(void)
{
    serve(work);
}
