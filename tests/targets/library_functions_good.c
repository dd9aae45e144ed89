// Functions of libc that allocate inside (fopen, getline, open_memstream, qsort, setenv) hand the failure on.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what)
{
    fprintf(stderr, "%s: out of memory\n", what);
    exit(1);
}

static int order(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

int main(void)
{
    FILE *file = fopen("/proc/self/comm", "r");
    if (!file)
        die("fopen");
    char *line = NULL;
    size_t size = 0;
    if (getline(&line, &size, file) < 0) {
        fclose(file);
        die("getline");
    }
    fclose(file);

    char *text = NULL;
    FILE *memory = open_memstream(&text, &size);
    if (!memory)
        die("open_memstream");
    int failed = fprintf(memory, "%0300d", 1) < 0;
    failed |= fclose(memory) != 0;
    if (failed || !text || strlen(text) != 300)
        die("memory stream");

    int numbers[600];
    for (int i = 0; i < 600; i++)
        numbers[i] = (i * 7919) % 600;
    qsort(numbers, 600, sizeof numbers[0], order);
    if (setenv("MARK", text, 1))
        die("setenv");
    fprintf(stderr, "%d %d\n", numbers[0], numbers[599]);
    free(line);
    free(text);
    return 0;
}
