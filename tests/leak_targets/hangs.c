// Never answers in round 20.
#include "daemon.h"

static void work(unsigned round)
{
    while (!GOOD && round >= 20)
        pause();
}

int main(void)
{
    serve(work);
}
