// Makes the Nth allocation of one program fail: the plain way to test allocation failures, as a baseline to measure against.
//
// Preload it. FAILNTH=N fails allocation N (from 1); FAILNTH=0 fails none. FAILNTH_COUNT names a file of 16 zero bytes:
// its first 8 bytes receive the number of allocations (FAILNTH=0) or the ordinal that failed, its second 8 are set once a
// program has loaded this library, so that what that program executes or forks is left alone (FAILNTH_PID: only this process).
//
// Build: gcc -O2 -shared -fPIC -o failnth.so failnth.c
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void *(*real_malloc)(size_t), *(*real_calloc)(size_t, size_t), *(*real_realloc)(void *, size_t);
static void *(*real_memalign)(size_t, size_t), *(*real_aligned_alloc)(size_t, size_t);
static int (*real_posix_memalign)(void **, size_t, size_t);
static atomic_ulong made;
static unsigned long want;
static pid_t only;
static struct page { atomic_ulong count, loaded; } *page;

static void start(void)
{
    const char *nth = getenv("FAILNTH"), *file = getenv("FAILNTH_COUNT"), *pid = getenv("FAILNTH_PID");
    real_calloc = dlsym(RTLD_NEXT, "calloc");
    real_realloc = dlsym(RTLD_NEXT, "realloc");
    real_memalign = dlsym(RTLD_NEXT, "memalign");
    real_aligned_alloc = dlsym(RTLD_NEXT, "aligned_alloc");
    real_posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
    only = pid ? atoi(pid) : 0;
    if (file && (!only || only == getpid())) {
        int fd = open(file, O_RDWR | O_CLOEXEC);
        void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (at != MAP_FAILED && !atomic_exchange(&((struct page *)at)->loaded, 1))
            page = at;
        if (fd >= 0)
            close(fd);
    }
    if (nth && (page || !file))
        want = strtoul(nth, NULL, 10);
    real_malloc = dlsym(RTLD_NEXT, "malloc");
}

static int fail(void)
{
    if (__builtin_expect(!real_malloc, 0))
        start();
    if (want) {
        if (atomic_fetch_add_explicit(&made, 1, memory_order_relaxed) + 1 != want || (only && only != getpid()))
            return 0;
        if (page)
            page->count = want;
        errno = ENOMEM;
        return 1;
    }
    if (page && (!only || only == getpid()))
        page->count++;
    return 0;
}

void *malloc(size_t size) { return fail() ? NULL : real_malloc(size); }
void *calloc(size_t n, size_t size) { return fail() ? NULL : real_calloc(n, size); }
// realloc(p, 0) gives memory back; it is not an allocation.
void *realloc(void *p, size_t size) { return (size || !p) && fail() ? NULL : real_realloc(p, size); }
void *memalign(size_t align, size_t size) { return fail() ? NULL : real_memalign(align, size); }
void *aligned_alloc(size_t align, size_t size) { return fail() ? NULL : real_aligned_alloc(align, size); }

void *reallocarray(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(p, bytes);
}

int posix_memalign(void **out, size_t align, size_t size)
{
    int saved = errno;
    if (!fail())
        return real_posix_memalign(out, align, size);
    errno = saved;
    return ENOMEM;
}
