// The error path takes a mutex that it already holds.
// expect: hung
// never: crashed,corrupted,silent,misreported,asserted,aborted,damaged,unreached
// link: -pthread
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *shared;
static int failures;

__attribute__((noinline)) static void note_failure(void)
{
    pthread_mutex_lock(&lock);
    failures++;
    pthread_mutex_unlock(&lock);
}

__attribute__((noinline)) static void set(const char *text)
{
    pthread_mutex_lock(&lock);
    char *copy = malloc(strlen(text) + 1);
    if (!copy) {
        if (CHECKED)
            pthread_mutex_unlock(&lock);
        note_failure();
        return;
    }
    shared = strcpy(copy, text);
    pthread_mutex_unlock(&lock);
}

int main(void)
{
    set("hello");
    if (failures) {
        fputs("out of memory\n", stderr);
        return 1;
    }
    puts(shared);
    free(shared);
    return 0;
}
