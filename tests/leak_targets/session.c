// What is made in a round is undone at its end but for one of three blocks.
// site: open_log 1 x 72
// undo: undo
#include "daemon.h"

void *session, *settings, *logs[100000];

NOINLINE static void open_log(unsigned round)
{
    logs[round % 100000] = use(malloc(72), 72);
}

static void make(unsigned round)
{
    session = use(malloc(1000), 1000);
    settings = use(malloc(300), 300);
    open_log(round);
}

static void undo(unsigned round)
{
    free(session);
    free(settings);
    if (GOOD)
        free(logs[round % 100000]);
    session = settings = NULL;
}

int main(void)
{
    serve_on(listen_on_socket(), make, undo);
}
