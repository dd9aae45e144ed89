// Blocks in read, by itself or inside of stdio; a read that ends early is an error.
#include <stdio.h>
#include <unistd.h>
int main(void) {
    char told[2];
    puts("ready"); fflush(stdout);
#ifdef STDIO
    puts(fgets(told, 2, stdin) ? "right" : "wrong");
#else
    puts(read(0, told, 1) == 1 ? "right" : "wrong");
#endif
    return 0;
}
