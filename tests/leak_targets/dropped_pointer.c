// Two blocks in every round to which nothing points any more.
// site: drop 2 x 128
// unreachable: yes
#include "daemon.h"

NOINLINE static void drop(unsigned round)
{
    for (volatile int i = 0; i < 2; i++) {
        void *one = use(malloc(128), 128);
        if (GOOD)
            free(one);
    }
}

int main(void)
{
    serve(drop);
}
