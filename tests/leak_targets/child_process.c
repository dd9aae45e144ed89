// The process that was started listens, and a child of its does the work and leaks.
// site: in_child 1 x 400
// ways: preload
#include "daemon.h"
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

void *kept[100000];

NOINLINE static void in_child(unsigned round)
{
    void *one = use(malloc(400), 400);
    if (GOOD)
        free(one);
    else
        kept[round % 100000] = one;
}

int main(void)
{
    int listener = listen_on_socket();
    if (fork()) {
        wait(NULL);
        return 1;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    serve_on(listener, in_child, NULL);
}
