// What the daemons in C and C++ have in common: a request on a Unix socket, the work, an answer.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef GOOD
#define GOOD 0
#endif
#define NOINLINE __attribute__((noinline))
// What keeps blocks reachable is not `static` in the daemons: the compiler would drop what is only written.

// Writes to all of a block, and hides from the compiler what becomes of it.
static inline void *use(void *block, size_t size)
{
    if (!block)
        abort();
    memset(block, 0x5a, size);
    __asm__ volatile("" : "+r"(block) : : "memory");
    return block;
}

// Forgets what calls have left on the stack and in registers: a pointer there would keep a block reachable.
static NOINLINE void forget(void)
{
    char stack[4096];
    memset(stack, 0, sizeof stack);
    __asm__ volatile("" : : "r"(stack) : "memory", "rbx", "r12", "r13", "r14", "r15");
}

static int listen_on_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink("socket");
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 100))
        perror("socket"), exit(1);
    return listener;
}

// Answers requests for good. `undo` may be NULL. The number of a round counts from 1.
static void serve_on(int listener, void (*work)(unsigned), void (*undo)(unsigned))
{
    unsigned rounds = 0;
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            perror("accept"), exit(1);
        }
        char request[16] = "", answer[32];
        if (read(client, request, sizeof request - 1) > 0) {
            if (!strcmp(request, "work"))
                work(++rounds);
            else if (!strcmp(request, "undo") && undo)
                undo(rounds);
            forget();
            const char *word = strcmp(request, "alive") ? "done" : "alive";
            int length = snprintf(answer, sizeof answer, "%s %u\n", word, rounds);
            if (write(client, answer, length) < 0)
                perror("write");
        }
        close(client);
    }
}

static void serve(void (*work)(unsigned))
{
    serve_on(listen_on_socket(), work, NULL);
}
