// One block in every round stays in a list; the twin keeps that of the last round alone.
// run: 64 | 512 | 4096 | 65536
// site: remember 1 x $1
#include "daemon.h"

struct kept {
    struct kept *next;
};
static struct kept *list;
static size_t size;

NOINLINE static void remember(unsigned round)
{
    struct kept *one = use(malloc(size), size);
    if (GOOD)
        free(list);
    one->next = GOOD ? NULL : list;
    list = one;
}

int main(int argc, char **argv)
{
    size = argc > 1 ? strtoul(argv[1], NULL, 10) : 64;
    serve(remember);
}
