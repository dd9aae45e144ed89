// Runs a command once for each of its allocations, with that allocation failed by failnth.so, and prints the verdicts as JSON.
//
// usage: rerun_each [-j JOBS] [-t SECONDS] [-i STDIN-FILE] [-e K] [-a FIRST-LAST] [-v] FAILNTH.SO CMD…
//   -j  runs at a time (2)          -e  only every Kth allocation (1)       -v  a line per run on stderr
//   -t  time limit of a run (10)    -a  only these allocations (all)        -i  standard input (/dev/null)
//
// Nothing here is slower than it has to be: vfork, outputs in memory files that are reused, no shell, no polling. The
// program runs in the current directory, which is not cleaned between runs.
//
// Build: gcc -O2 -o rerun_each rerun_each.c
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HANDLED, TOLERATED, SILENT, MUTE, ABORTED, ASSERTED, CRASHED, CORRUPTED, HUNG, UNREACHED, VERDICTS };
static const char *const words[VERDICTS] = {"handled", "tolerated", "silent_complained", "silent_without_a_word", "aborted",
                                            "asserted", "crashed", "corrupted", "hung", "unreached"};
struct slot { // what one of the parallel runs reuses
    pid_t pid;
    int out, err, timed_out;
    unsigned long nth;
    double deadline;
    volatile unsigned long *page;
    char **env, nth_var[40], pid_var[40], page_path[64], page_var[80];
};
static char **cmd, *program, preload_var[4200];
static const char *input = "/dev/null";
static unsigned long limit_seconds = 10;
extern char **environ;

static void tick(int signal) { (void)signal; }
static void die(const char *what) { perror(what); exit(2); }

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void prepare(struct slot *s)
{
    size_t n = 0;
    int fd = memfd_create("count", 0); // reached through this process' /proc, so that it costs the target no descriptor
    s->out = memfd_create("stdout", MFD_CLOEXEC);
    s->err = memfd_create("stderr", MFD_CLOEXEC);
    if (fd < 0 || s->out < 0 || s->err < 0 || ftruncate(fd, 16))
        die("memfd");
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    s->page = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    sprintf(s->page_var, "FAILNTH_COUNT=/proc/%d/fd/%d", getpid(), fd);
    while (environ[n])
        n++;
    s->env = malloc((n + 5) * sizeof *s->env);
    s->env[0] = preload_var, s->env[1] = s->nth_var, s->env[2] = s->pid_var, s->env[3] = s->page_var;
    memcpy(s->env + 4, environ, (n + 1) * sizeof *s->env);
}

static void start(struct slot *s, unsigned long nth)
{
    int in = open(input, O_RDONLY | O_CLOEXEC);
    if (in < 0 || ftruncate(s->out, 0) || ftruncate(s->err, 0))
        die(input);
    lseek(s->out, 0, SEEK_SET), lseek(s->err, 0, SEEK_SET);
    s->page[0] = s->page[1] = 0;
    s->nth = nth, s->timed_out = 0, s->deadline = now() + limit_seconds;
    sprintf(s->nth_var, "FAILNTH=%lu", nth);
    if (!(s->pid = vfork())) {
        setpgid(0, 0);
        sprintf(s->pid_var, "FAILNTH_PID=%d", getpid());
        dup2(in, 0), dup2(s->out, 1), dup2(s->err, 2);
        execve(program, cmd, s->env);
        _exit(127);
    }
    close(in);
}

// The memory file's contents, to be unmapped by size; "" when it is empty.
static const char *contents(int fd, size_t *size)
{
    *size = lseek(fd, 0, SEEK_END);
    return *size ? mmap(NULL, *size, PROT_READ, MAP_SHARED, fd, 0) : "";
}

static int says(const char *text, size_t size, const char *words) { return memmem(text, size, words, strlen(words)) != NULL; }

static int judge(struct slot *s, int status, const char *ref, size_t ref_size, int ref_status)
{
    size_t size, err_size;
    const char *out = contents(s->out, &size), *err = contents(s->err, &err_size);
    int same = size == ref_size && !memcmp(out, ref, size), verdict;
    if (s->timed_out || (WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ))
        verdict = HUNG;
    else if (!s->page[0])
        verdict = UNREACHED;
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)
        verdict = says(err, err_size, "Assertion `")                                                      ? ASSERTED
                  : says(err, err_size, "free(): ") || says(err, err_size, "double free")
                          || says(err, err_size, "malloc(): ") || says(err, err_size, "realloc(): ")
                          || says(err, err_size, "corrupted ") || says(err, err_size, "munmap_chunk(): ") ? CORRUPTED
                                                                                                          : ABORTED;
    else if (WIFSIGNALED(status))
        verdict = CRASHED;
    else if (same && status == ref_status)
        verdict = TOLERATED;
    else if (WEXITSTATUS(status))
        verdict = HANDLED;
    else
        verdict = err_size ? SILENT : MUTE;
    if (size)
        munmap((void *)out, size);
    if (err_size)
        munmap((void *)err, err_size);
    return verdict;
}

// The slot whose run has ended; kills those that are over time.
static struct slot *finished(struct slot *slots, int jobs, int *status)
{
    for (;;) {
        pid_t pid = waitpid(-1, status, 0);
        double t = now();
        for (int i = 0; i < jobs; i++) {
            if (pid > 0 && slots[i].pid == pid) {
                kill(-pid, SIGKILL); // what it left running must not write into the next run's output
                slots[i].pid = 0;
                return &slots[i];
            }
            if (slots[i].pid && t > slots[i].deadline)
                slots[i].timed_out = 1, kill(-slots[i].pid, SIGKILL);
        }
    }
}

int main(int argc, char **argv)
{
    unsigned long jobs = 2, every = 1, first = 1, last = ~0UL, tally[VERDICTS] = {0}, runs = 0, statuses[256] = {0};
    int opt, verbose = 0, status, ref_status;
    while ((opt = getopt(argc, argv, "+j:t:i:e:a:v")) != -1)
        switch (opt) {
        case 'j': jobs = strtoul(optarg, NULL, 10); break;
        case 't': limit_seconds = strtoul(optarg, NULL, 10); break;
        case 'i': input = optarg; break;
        case 'e': every = strtoul(optarg, NULL, 10); break;
        case 'a': sscanf(optarg, "%lu-%lu", &first, &last); break;
        case 'v': verbose = 1; break;
        default: return 2;
        }
    if (argc - optind < 2 || !jobs || !every || !realpath(argv[optind], preload_var + sprintf(preload_var, "LD_PRELOAD=")))
        return fputs("usage: rerun_each [-j N] [-t SECONDS] [-i FILE] [-e K] [-a A-B] [-v] FAILNTH.SO CMD...\n", stderr), 2;
    cmd = argv + optind + 1;
    program = cmd[0];
    if (!strchr(program, '/')) { // look the program up once, not in every run
        static char found[4200];
        for (char *dir = strtok(strdup(getenv("PATH")), ":"); dir; dir = strtok(NULL, ":"))
            if (snprintf(found, sizeof found, "%s/%s", dir, cmd[0]) > 0 && !access(found, X_OK)) {
                program = found;
                break;
            }
    }
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){64 << 20, 64 << 20}); // output without end is a hang
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = tick}, NULL); // interrupts waitpid to look at the deadlines
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 100000}, {0, 100000}}, NULL);

    struct slot *slots = calloc(jobs + 1, sizeof *slots), *ref = &slots[jobs], *s;
    for (unsigned long i = 0; i <= jobs; i++)
        prepare(&slots[i]);
    double before = now();
    start(ref, 0);
    finished(ref, 1, &ref_status);
    unsigned long count = ref->page[0];
    size_t ref_size;
    const char *ref_out = contents(ref->out, &ref_size);
    if (last > count)
        last = count;
    unsigned long next = first, running = 0;
    while (next <= last || running) {
        for (unsigned long i = 0; i < jobs && next <= last; i++)
            if (!slots[i].pid)
                start(&slots[i], next), next += every, running++;
        s = finished(slots, jobs, &status);
        running--, runs++;
        int verdict = judge(s, status, ref_out, ref_size, ref_status);
        tally[verdict]++;
        statuses[WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status)]++;
        if (verbose)
            fprintf(stderr, "%lu %s %s%d\n", s->nth, words[verdict], WIFSIGNALED(status) ? "signal " : "exit ",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    printf("{\"allocations\": %lu, \"runs\": %lu, \"jobs\": %lu, \"reference_status\": %d, \"seconds\": %.3f, \"verdicts\": {", count,
           runs, jobs, WIFEXITED(ref_status) ? WEXITSTATUS(ref_status) : 128 + WTERMSIG(ref_status), now() - before);
    for (int v = 0, some = 0; v < VERDICTS; v++)
        if (tally[v])
            printf("%s\"%s\": %lu", some++ ? ", " : "", words[v], tally[v]);
    printf("}, \"statuses\": {");
    for (int v = 0, some = 0; v < 256; v++)
        if (statuses[v])
            printf("%s\"%d\": %lu", some++ ? ", " : "", v, statuses[v]);
    puts("}}");
    return count ? 0 : 3;
}
