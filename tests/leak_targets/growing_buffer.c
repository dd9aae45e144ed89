// One buffer that is made 4 KiB bigger in every round: one block, ever more bytes. The twin's is made as big as before.
#include "daemon.h"

static char *buffer;

NOINLINE static void append(unsigned round)
{
    size_t size = 4096 * (GOOD ? 1 : round);
    buffer = realloc(buffer, size);
    use(buffer, size);
}

int main(void)
{
    serve(append);
}
