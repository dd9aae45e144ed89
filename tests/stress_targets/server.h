// What the targets in C have in common: they wait in poll for a request, and between requests something is done at
// intervals.
#include "../leak_targets/daemon.h"
#include <malloc.h>
#include <poll.h>
#include <pthread.h>

// Answers requests for good: `work` is done for each, and `tick` every `pause` milliseconds; either may be NULL.
static void serve_and_tick(void (*work)(const char *request), void (*tick)(void), int pause)
{
    int listener = listen_on_socket();
    for (unsigned answered = 0;;) {
        struct pollfd waiting = {.fd = listener, .events = POLLIN};
        int ready = poll(&waiting, 1, tick ? pause : -1);
        if (tick)
            tick();
        if (ready <= 0)
            continue;
        int client = accept(listener, NULL, NULL);
        if (client < 0)
            continue;
        char request[64] = "", answer[32];
        if (read(client, request, sizeof request - 1) > 0) {
            if (work)
                work(request);
            int length = snprintf(answer, sizeof answer, "done %u\n", ++answered);
            // Who has asked may have gone.
            if (send(client, answer, length, MSG_NOSIGNAL) < 0)
                perror("send");
        }
        close(client);
    }
}

static void start_thread(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, argument))
        perror("pthread_create"), exit(1);
}
