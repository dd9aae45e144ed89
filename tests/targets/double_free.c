// The error path frees a block that the caller frees again.
// expect: corrupted
// never: crashed,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pair {
    char *name, *value;
};

__attribute__((noinline)) static int fill(struct pair *pair)
{
    pair->name = malloc(2000); // too big for the quick lists, so that the allocator looks twice
    if (!pair->name)
        return -1;
    strcpy(pair->name, "key");
    pair->value = malloc(2000);
    if (!pair->value) {
        free(pair->name);
        if (CHECKED)
            pair->name = NULL;
        return -1;
    }
    strcpy(pair->value, "value");
    return 0;
}

int main(void)
{
    struct pair pair = {NULL, NULL};
    int status = fill(&pair);
    if (status == 0)
        printf("%s=%s\n", pair.name, pair.value);
    else
        fputs("out of memory\n", stderr);
    free(pair.name);
    free(pair.value);
    return status ? 1 : 0;
}
