// Loads a library when it is told to, and calls it then.
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>
int main(int count, char **arguments) {
    char told;
    puts("ready"); fflush(stdout);
    read(0, &told, 1);
    void *library = dlopen(getenv("LATER"), RTLD_NOW);
    int (*later)(void) = library ? dlsym(library, "later") : 0;
    puts(later ? "loaded" : "wrong"); fflush(stdout);
    read(0, &told, 1);
    int value = later ? later() : 0;
    puts("called"); fflush(stdout);
    read(0, &told, 1);
    puts(value == 42 ? "right" : "wrong");
    return 0;
}
