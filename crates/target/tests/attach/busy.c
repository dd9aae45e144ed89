// All but always inside libc, in a function that is on no list: only its return is a safe point.
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static char buffer[32 << 20];
int main(void) {
    char told;
    fcntl(0, F_SETFL, O_NONBLOCK);
    void *(*volatile fill)(void *, int, size_t) = memset;
    puts("ready"); fflush(stdout);
    do {
        for (int round = 0; round < 20; round++) fill(buffer, round, sizeof buffer);
    } while (read(0, &told, 1) < 0);
    puts(buffer[12345] == 19 ? "right" : "wrong");
    return 0;
}
