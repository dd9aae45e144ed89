// A descriptor stays open in every round, which memory hardly shows.
#include "daemon.h"
#include <fcntl.h>
#include <sys/resource.h>

NOINLINE static void open_one(unsigned round)
{
    int one = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (one < 0)
        abort();
    if (GOOD)
        close(one);
}

int main(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    serve(open_one);
}
