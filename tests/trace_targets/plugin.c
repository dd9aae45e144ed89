// The library of plugin_host.c.
#include <stdlib.h>

void use(void)
{
    char *volatile block = malloc(5005);
    free(block);
}
