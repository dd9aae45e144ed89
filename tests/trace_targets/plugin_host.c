// Loads a library that only its RUNPATH leads to, and allocates in it. The caller of dlopen decides which RUNPATH that is.
#include <dlfcn.h>
#include <stdio.h>

int main(void)
{
    void *library = dlopen("libplugin.so", RTLD_NOW);
    if (library == NULL)
        return fprintf(stderr, "%s\n", dlerror()), 1;
    void (*use)(void) = (void (*)(void))dlsym(library, "use");
    use();
    return dlclose(library);
}
