// Sleeps again and again, always the whole time and never interrupted.
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec * 1e-9; }
int main(void) {
    int wrong = 0;
    char told;
    fcntl(0, F_SETFL, O_NONBLOCK);
    puts("ready"); fflush(stdout);
    while (read(0, &told, 1) < 0) {
        double begun = now();
        struct timespec time = {0, 30000000};
        if (nanosleep(&time, 0) != 0 || now() - begun < 0.03) wrong = 1;
    }
    puts(wrong ? "wrong" : "right");
    return 0;
}
