// What the tests load into targets: hooks that count and pass on, and functions to be called.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
static void *(*real_malloc)(size_t), *(*real_calloc)(size_t, size_t), *(*real_realloc)(void *, size_t);
static void (*real_free)(void *);
static uint64_t calls;
// As the agent has: to make room for it in each thread, the loader takes the lock of the list of threads.
static __thread volatile uint64_t begun __attribute__((tls_model("initial-exec")));
uint64_t begin(const char *argument) {
    if (!real_malloc) {
        real_calloc = dlsym(RTLD_DEFAULT, "calloc");
        real_realloc = dlsym(RTLD_DEFAULT, "realloc");
        real_free = dlsym(RTLD_DEFAULT, "free");
        real_malloc = dlsym(RTLD_DEFAULT, "malloc");
    }
    begun++;
    char *copy = strdup(argument);
    uint64_t length = strlen(copy);
    free(copy);
    return length;
}
uint64_t counted(const char *argument) { return __atomic_load_n(&calls, __ATOMIC_RELAXED); }
uint64_t faulty(const char *argument) { *(volatile int *)64 = 1; return 0; }
uint64_t endless(const char *argument) { for (;;) __asm__ volatile("pause"); }
static void count(void) { __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED); }
void *hook_malloc(size_t size) { count(); return real_malloc(size); }
void *hook_calloc(size_t number, size_t size) { count(); return real_calloc(number, size); }
void *hook_realloc(void *block, size_t size) { count(); return real_realloc(block, size); }
void hook_free(void *block) { count(); real_free(block); }
