// Computes with vector registers while a timer's signal comes a thousand times a second.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>
static volatile sig_atomic_t ticks;
static void tick(int signal) { ticks++; }
static double compute(void) {
    double a = 1, b = 2, c = 3, d = 4;
    for (int i = 0; i < 20000; i++) { a = a * 0.999 + b; b = b * 0.5 + c; c = c * 0.25 + d; d = d * 0.125 + a * 1e-3; }
    return a + b + c + d;
}
int main(void) {
    int wrong = 0;
    char told;
    double expected = compute();
    struct itimerval often = {{0, 1000}, {0, 1000}};
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
    fcntl(0, F_SETFL, O_NONBLOCK);
    sigaction(SIGALRM, &action, 0);
    setitimer(ITIMER_REAL, &often, 0);
    puts("ready"); fflush(stdout);
    while (read(0, &told, 1) < 0) {
        void *block = malloc(1000);
        if (compute() != expected) wrong = 1;
        free(block);
    }
    int before = ticks;
    while (ticks == before) compute();
    puts(wrong ? "wrong" : "right");
    return 0;
}
