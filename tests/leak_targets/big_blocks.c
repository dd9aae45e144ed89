// Blocks so big that malloc maps each by itself, of which only the first page is touched.
// site: remember 1 x 262144
#include "daemon.h"

void *kept[100000];

NOINLINE static void remember(unsigned round)
{
    void *one = malloc(262144);
    use(one, 100);
    if (GOOD)
        free(one);
    else
        kept[round % 100000] = one;
}

int main(void)
{
    serve(remember);
}
