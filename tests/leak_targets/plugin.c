// A library that is loaded for each request and unloaded after it leaves a block behind. Calls from it can't be redirected
// by slots: it comes and goes within the round.
// site: in_plugin 1 x 96
// library: yes
// ways: preload
#ifdef LIBRARY
#include "daemon.h"

NOINLINE void *in_plugin(void)
{
    void *one = use(malloc(96), 96);
    if (!GOOD)
        return one;
    free(one);
    return NULL;
}
#else
#include "daemon.h"
#include <dlfcn.h>

void *kept[100000];
static char path[4096];

static void work(unsigned round)
{
    void *library = dlopen(path, RTLD_NOW);
    if (!library)
        fprintf(stderr, "%s\n", dlerror()), abort();
    void *(*in_plugin)(void) = (void *(*)(void))dlsym(library, "in_plugin");
    kept[round % 100000] = in_plugin();
    dlclose(library);
}

int main(void)
{
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 16);
    if (length < 0)
        abort();
    strcpy(path + length, "_library");
    serve(work);
}
#endif
