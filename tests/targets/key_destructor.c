// The destructor of a thread-specific key allocates while its thread ends, and does not check.
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

static pthread_key_t key;

static void at_thread_end(void *value)
{
    char *copy = malloc(200);
    if (CHECKED && !copy)
        die("destructor");
    strcpy(copy, value);
    fputs(copy, stderr);
    free(copy);
    free(value);
}

static void *worker(void *arg)
{
    char *value = strdup("thread ends\n");
    if (!value || pthread_setspecific(key, value))
        die("worker");
    return arg;
}

int main(void)
{
    pthread_t thread;
    if (pthread_key_create(&key, at_thread_end) || pthread_create(&thread, NULL, worker, NULL))
        die("thread");
    pthread_join(thread, NULL);
    return 0;
}
