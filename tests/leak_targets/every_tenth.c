// One block in each tenth round stays; the twin keeps only the last one.
// site: remember 1 x 100 every 10
// rounds: 601
#include "daemon.h"

void *kept[100000];
static unsigned count;

NOINLINE static void remember(void)
{
    void *one = use(malloc(100), 100);
    if (GOOD && count)
        free(kept[--count]);
    kept[count++ % 100000] = one;
}

static void work(unsigned round)
{
    free(use(malloc(100), 100));
    if (round % 10 == 0)
        remember();
}

int main(void)
{
    serve(work);
}
