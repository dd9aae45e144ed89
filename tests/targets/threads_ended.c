// A thread has come and gone before the later allocations, of which the last is not checked.
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

static void *worker(void *arg)
{
    char *p = malloc(100);
    if (!p)
        die("worker");
    strcpy(p, "worked\n");
    *(char **)arg = p;
    return NULL;
}

int main(void)
{
    char *result = NULL;
    pthread_t thread;
    if (pthread_create(&thread, NULL, worker, &result))
        die("thread");
    pthread_join(thread, NULL);
    char *a = malloc(200);
    if (!a)
        die("a");
    strcpy(a, "thread ");
    char *b = malloc(300);
    if (CHECKED && !b)
        die("b");
    strcat(strcpy(b, a), result);
    if (write(1, b, strlen(b)) < 0)
        return 2;
    free(a);
    free(b);
    free(result);
    return 0;
}
