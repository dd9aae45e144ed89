// A cache without bounds; the twin's holds sixteen entries and lets the oldest go.
// site: insert 1 x 512
#include "daemon.h"

enum { bound = GOOD ? 16 : 100000 };
void *entries[bound];

NOINLINE static void insert(unsigned key)
{
    void **entry = &entries[key % bound];
    free(*entry);
    *entry = use(malloc(512), 512);
}

int main(void)
{
    serve(insert);
}
