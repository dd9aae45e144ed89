// Every function that allocates, and two of the library's that do so for their caller.
// site: by_calloc 1 x 120
// site: by_realloc 1 x 130
// site: by_aligned_alloc 1 x 256
// site: by_posix_memalign 1 x 140
// site: by_strdup 1 x 33
// site: by_asprintf 1 x ?
#define _GNU_SOURCE
#include "daemon.h"

void *kept[100000];
static unsigned count;

static void keep(void *one, size_t size)
{
    use(one, size);
    if (GOOD)
        free(one);
    else
        kept[count++ % 100000] = one;
}

NOINLINE static void by_calloc(void)
{
    keep(calloc(12, 10), 120);
}

NOINLINE static void by_realloc(void)
{
    keep(realloc(NULL, 130), 130);
}

NOINLINE static void by_aligned_alloc(void)
{
    keep(aligned_alloc(64, 256), 256);
}

NOINLINE static void by_posix_memalign(void)
{
    void *one;
    if (posix_memalign(&one, 128, 140))
        abort();
    keep(one, 140);
}

NOINLINE static void by_strdup(void)
{
    keep(strdup("thirty-two characters, no more.."), 33);
}

NOINLINE static void by_asprintf(unsigned round)
{
    char *one;
    if (asprintf(&one, "round %u", round) < 0)
        abort();
    keep(one, 8);
}

static void work(unsigned round)
{
    by_calloc();
    by_realloc();
    by_aligned_alloc();
    by_posix_memalign();
    by_strdup();
    by_asprintf(round);
}

int main(void)
{
    serve(work);
}
