// Does not check blocks of a heap that grows past the limit.
// expect: crashed
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// options: --fault limit=1000000
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    // 4 MB in all, but never more than 64 KiB alive: a limit of 1,000,000 live bytes must not come here.
    for (int i = 0; i < 64; i++) {
        char *p = malloc(65536);
        memset(p, i, 100);
        free(p);
    }
    struct block {
        struct block *next;
        char bytes[32760];
    } *list = NULL;
    int blocks = 0;
    while (blocks < 64) { // 2 MB alive at the end
        struct block *block = malloc(sizeof *block);
        if (CHECKED && !block)
            break;
        ((volatile char *)block->bytes)[0] = 'x';
        block->next = list;
        list = block;
        blocks++;
    }
    fprintf(stderr, "%d blocks\n", blocks);
    while (list) {
        struct block *next = list->next;
        free(list);
        list = next;
    }
    return blocks == 64 ? 0 : 1;
}
