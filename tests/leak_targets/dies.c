// Dies in round 20: by a signal, or by ending with the status that is its argument.
#include "daemon.h"

static int status = -1;

static void work(unsigned round)
{
    if (GOOD || round < 20)
        return;
    if (status < 0)
        abort();
    exit(status);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        status = atoi(argv[1]);
    serve(work);
}
