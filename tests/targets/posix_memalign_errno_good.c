// posix_memalign hands its error back as a result: errno and the pointer stay as they were.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    void *block = &block;
    errno = 77;
    int error = posix_memalign(&block, 64, 1000);
    if (error) {
        if (error != ENOMEM || errno != 77 || block != &block)
            abort();
        fputs("out of memory\n", stderr);
        return 1;
    }
    if ((uintptr_t)block % 64)
        abort();
    free(block);
    void *odd = NULL;
    error = posix_memalign(&odd, 24, 1000); // not a power of two
    if (error != EINVAL && error != ENOMEM)
        abort();
    if (error == ENOMEM) {
        fputs("out of memory\n", stderr);
        return 1;
    }
    return 0;
}
