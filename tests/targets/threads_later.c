// Threads start after some allocations and allocate themselves, at the same time; one of them does not check.
// expect: crashed,handled
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// link: -pthread
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "%s: out of memory\n", what);
    exit(1);
}

__attribute__((noinline)) static char *checked(const char *text)
{
    char *p = strdup(text);
    if (!p)
        die("copy");
    return p;
}

static void *careful(void *arg)
{
    (void)arg;
    return checked("careful");
}

static void *careless(void *arg)
{
    char *p = malloc(100);
    (void)arg;
    if (CHECKED && !p)
        die("careless");
    return strcpy(p, "careless");
}

int main(void)
{
    char *start = checked("start"), *end;
    pthread_t a, b;
    void *from_a, *from_b;
    if (pthread_create(&a, NULL, careful, NULL))
        die("thread a");
    if (pthread_create(&b, NULL, careless, NULL))
        die("thread b");
    pthread_join(a, &from_a);
    pthread_join(b, &from_b);
    end = checked("end");
    fprintf(stderr, "%s %s %s %s\n", start, (char *)from_a, (char *)from_b, end);
    free(start);
    free(from_a);
    free(from_b);
    free(end);
    return 0;
}
