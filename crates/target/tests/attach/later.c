#include <stdlib.h>
int later(void) {
    int *volatile block = malloc(sizeof *block);
    *block = 42;
    int value = *block;
    free(block);
    return value;
}
