// Calls of the allocator and for mappings between two marks. Each is told on stdout as the event that it is, without the
// caller, by code that allocates nothing. With an argument, all is done in a second thread.
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memtrial.h"

static char told[1 << 16];
static size_t length;

#define TELL(...) (length += snprintf(told + length, sizeof told - length, __VA_ARGS__))

static void *calls(void *unused)
{
    memtrial_note("begin");
    char *a = malloc(111);
    TELL("alloc bytes=111 alignment=0 block=%p\n", a);
    char *b = calloc(3, 50);
    TELL("alloc bytes=150 alignment=0 block=%p\n", b);
    char *bigger = realloc(a, 100000);
    TELL("realloc old=%p bytes=100000 block=%p\n", a, bigger);
    char *c = realloc(NULL, 33);
    TELL("alloc bytes=33 alignment=0 block=%p\n", c);
    void *d = NULL;
    if (posix_memalign(&d, 256, 77) != 0)
        abort();
    TELL("alloc bytes=77 alignment=256 block=%p\n", d);
    void *e = aligned_alloc(64, 128), *f = memalign(32, 5);
    TELL("alloc bytes=128 alignment=64 block=%p\nalloc bytes=5 alignment=32 block=%p\n", e, f);
    errno = 0;
    if (malloc(1UL << 62) != NULL || errno != ENOMEM)
        abort();
    TELL("fail bytes=%lu\n", 1UL << 62);
    void *blocks[] = {bigger, b, c, d, e, f};
    for (int i = 0; i < 6; i++) {
        free(blocks[i]);
        TELL("free block=%p\n", blocks[i]);
    }
    void *m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TELL("map mapping=%p bytes=8192 protection=0x3 flags=0x22 fd=-1\n", m);
    void *n = mremap(m, 8192, 65536, MREMAP_MAYMOVE);
    TELL("remap old=%p old_bytes=8192 mapping=%p bytes=65536\n", m, n);
    munmap(n, 65536);
    TELL("unmap mapping=%p bytes=65536\n", n);
    errno = 0;
    if (mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED || errno != EINVAL)
        abort();
    TELL("map_fail bytes=0 error=22\n");
    memtrial_note("end");
    return NULL;
}

int main(int count, char **arguments)
{
    if (count > 1) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, calls, NULL) != 0 || pthread_join(thread, NULL) != 0)
            return 1;
    } else {
        calls(NULL);
    }
    return write(1, told, length) == (ssize_t)length ? 0 : 1;
}
