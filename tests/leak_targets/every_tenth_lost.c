// In each tenth round nothing points to a block any more: lost, however few there are.
// site: lose 1 x 200 every 10
// unreachable: yes
#include "daemon.h"

NOINLINE static void lose(void)
{
    void *one = use(malloc(200), 200);
    if (GOOD)
        free(one);
}

static void work(unsigned round)
{
    if (round % 10 == 0)
        lose();
}

int main(void)
{
    serve(work);
}
