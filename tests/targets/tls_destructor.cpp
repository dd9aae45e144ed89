// The destructor of a thread-local object allocates while its thread ends, and does not check; glibc itself
// aborts when it cannot register the destructor.
// expect: crashed,handled,aborted
// never: corrupted,hung,silent,misreported,asserted,damaged,unreached
// link: -pthread
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <pthread.h>
#include <unistd.h>

struct Log {
    char *text = nullptr;
    ~Log()
    {
        char *copy = static_cast<char *>(std::malloc(200));
        if (CHECKED && !copy) {
            std::fputs("destructor: out of memory\n", stderr);
            _exit(1);
        }
        std::strcpy(copy, text ? text : "nothing\n");
        std::fputs(copy, stderr);
        std::free(copy);
        std::free(text);
    }
};

static thread_local Log log_of_thread;

static void *worker(void *)
{
    char *text = static_cast<char *>(std::malloc(100));
    if (!text) {
        std::fputs("worker: out of memory\n", stderr);
        _exit(1);
    }
    log_of_thread.text = std::strcpy(text, "thread ends\n");
    return nullptr;
}

int main()
{
    pthread_t thread;
    if (pthread_create(&thread, nullptr, worker, nullptr)) {
        std::fputs("thread: out of memory\n", stderr);
        return 1;
    }
    pthread_join(thread, nullptr);
    return 0;
}
