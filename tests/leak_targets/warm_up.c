// Grows in every round; the twin in the first thirty only.
// site: learn 1 x 2048
#include "daemon.h"

void *kept[100000];

NOINLINE static void learn(unsigned round)
{
    kept[round % 100000] = use(malloc(2048), 2048);
}

static void work(unsigned round)
{
    if (!GOOD || round <= 30)
        learn(round);
    else
        free(use(malloc(2048), 2048));
}

int main(void)
{
    serve(work);
}
