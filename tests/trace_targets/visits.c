// A daemon that does what the lines of its input say, and answers each with some lines, the last of them a dot:
//   visit N      hits `visit` N times, each time with a price that it only works out if somebody listens
//   threads T N  hits `work` N times in each of T threads at once
//   fork N       the same as `visit N` in a child that it waits for; the answer names the child
//   exec N       the same in a program that a child becomes
//   become       becomes the same program anew
//   deep         hits `deep` three calls deep
//   site         the byte at the site of `site`, and how often `visit` is listened to
#define _SDT_HAS_SEMAPHORES 1
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "note.h"

#define SEMAPHORE(PROBE) unsigned short visits_##PROBE##_semaphore __attribute__((section(".probes")))
SEMAPHORE(visit);
SEMAPHORE(work);
SEMAPHORE(deep);

static long worked_out;
extern const volatile unsigned char site_of_site[];

static long price(long number) {
    worked_out++;
    return number * number;
}

static void visit(long times) {
    for (long number = 1; number <= times; number++)
        if (visits_visit_semaphore) DTRACE_PROBE3(visits, visit, number, price(number), "visitor");
}

__attribute__((noinline)) static void site(void) {
    asm volatile(".globl site_of_site\nsite_of_site:\n" SITE("visits", "site", "") ::: "memory");
}

static long times_each;

static void *work(void *thread) {
    for (long number = 1; number <= times_each; number++) DTRACE_PROBE2(visits, work, (long)thread, number);
    return NULL;
}

__attribute__((noinline)) static int innermost(int depth) {
    DTRACE_PROBE1(visits, deep, depth);
    return depth + 1;
}

__attribute__((noinline)) static int between(int depth) { return innermost(depth) + 1; }

__attribute__((noinline)) static int outermost(int depth) { return between(depth) + 1; }

static void child(const char *program, long times) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char number[24];
        sprintf(number, "%ld", times);
        if (program) execl(program, program, number, NULL);
        visit(times);
        _exit(!!program);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("child %d status %d\n", pid, status);
}

int main(int count, char **words) {
    if (count > 1) {
        visit(atol(words[1]));
        return 0;
    }
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        char word[64] = "";
        long a = 0, b = 0;
        sscanf(line, "%63s %ld %ld", word, &a, &b);
        if (!strcmp(word, "visit")) {
            visit(a);
            printf("worked out %ld\n", worked_out);
        } else if (!strcmp(word, "threads")) {
            pthread_t threads[64];
            times_each = b;
            for (long thread = 0; thread < a; thread++) pthread_create(&threads[thread], NULL, work, (void *)thread);
            for (long thread = 0; thread < a; thread++) pthread_join(threads[thread], NULL);
        } else if (!strcmp(word, "fork")) {
            child(NULL, a);
        } else if (!strcmp(word, "exec")) {
            child(words[0], a);
        } else if (!strcmp(word, "become")) {
            printf(".\n");
            fflush(stdout);
            execl(words[0], words[0], NULL);
        } else if (!strcmp(word, "deep")) {
            printf("depth %d\n", outermost(0));
        } else if (!strcmp(word, "site")) {
            site();
            printf("byte %02x listeners %d\n", site_of_site[0], visits_visit_semaphore);
        }
        printf(".\n");
        fflush(stdout);
    }
    return 0;
}
