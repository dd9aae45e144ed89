// One function that allocates, called from two places: two sites.
// site: upload 1 x 80
// site: download 2 x 96
#include "daemon.h"

void *kept[100000];
static unsigned count;

NOINLINE static void get_buffer(size_t size)
{
    void *one = use(malloc(size), size);
    if (GOOD)
        free(one);
    else
        kept[count++ % 100000] = one;
}

NOINLINE static void upload(void)
{
    get_buffer(80);
    __asm__ volatile("");
}

NOINLINE static void download(void)
{
    for (volatile int i = 0; i < 2; i++)
        get_buffer(96);
}

static void work(unsigned round)
{
    upload();
    download();
}

int main(void)
{
    serve(work);
}
