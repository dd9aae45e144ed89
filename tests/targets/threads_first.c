// Threads run before the first allocation of main, of which the last is not checked.
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

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int work;

static void *worker(void *arg)
{
    pthread_mutex_lock(&lock);
    while (!work)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return arg;
}

int main(void)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, worker, NULL))
            die("thread");
    char *a = malloc(100);
    if (!a)
        die("a");
    strcpy(a, "threads ");
    char *b = malloc(200);
    if (CHECKED && !b)
        die("b");
    strcat(strcpy(b, a), "joined\n");
    pthread_mutex_lock(&lock);
    work = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    if (write(1, b, strlen(b)) < 0)
        return 2;
    free(a);
    free(b);
    return 0;
}
