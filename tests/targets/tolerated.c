// Does without the memory that it cannot have: same output, same status.
// expect: tolerated
// never: handled,crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char fallback[16];

__attribute__((noinline)) static void show(const char *text)
{
    char *p = malloc(16), *line = p ? p : fallback;
    strcpy(line, text);
    if (write(1, line, strlen(line)) < 0)
        _exit(2);
    free(p);
}

int main(void)
{
    show("one\n");
    show("two\n");
    return 0;
}
