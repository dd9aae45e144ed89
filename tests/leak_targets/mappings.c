// Memory that is mapped in every round and never unmapped.
// site: map_more 1 x 65536
#include "daemon.h"
#include <sys/mman.h>

void *kept[100000];

NOINLINE static void map_more(unsigned round)
{
    void *one = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (one == MAP_FAILED)
        abort();
    use(one, 65536);
    if (GOOD)
        munmap(one, 65536);
    else
        kept[round % 100000] = one;
}

int main(void)
{
    serve(map_more);
}
