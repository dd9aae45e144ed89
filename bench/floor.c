// A preload library that measures the floor of a snapshot: at the allocation numbered FLOOR_AT it clones the
// process FLOOR_RUNS times (1,000 unless told), each clone ends at once, and is waited for. It prints the median
// in microseconds on descriptor 9 and ends the process. With FLOOR_FAILS set, each clone gets NULL and runs on
// instead, to whatever end the program then comes to: that is what an injection costs at the very least.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *(*real_malloc)(size_t);

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Whether this process is a clone that is to run on.
static int measure(void)
{
    static double took[100000];
    const char *wanted = getenv("FLOOR_RUNS");
    int runs = wanted ? atoi(wanted) : 1000;
    if (runs < 1 || runs > 100000)
        runs = 1000;
    for (int i = 0; i < runs; i++) {
        double before = now();
        long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid == 0) {
            if (getenv("FLOOR_FAILS"))
                return 1;
            syscall(SYS_exit_group, 0);
        }
        waitpid(pid, NULL, 0);
        took[i] = now() - before;
    }
    qsort(took, runs, sizeof *took, ascending);
    dprintf(9, "floor_us %.1f\n", took[runs / 2]);
    _exit(0);
}

void *malloc(size_t size)
{
    static long count;
    static long at = -1;
    if (!real_malloc)
        real_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    if (at < 0) {
        const char *wanted = getenv("FLOOR_AT");
        at = wanted ? atol(wanted) : 0;
    }
    if (++count == at && measure())
        return NULL;
    return real_malloc(size);
}
