// Always in poll or epoll_wait, without end; neither may come back before it is told.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
int main(void) {
    int queue = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    struct pollfd descriptor = {0, POLLIN, 0};
    epoll_ctl(queue, EPOLL_CTL_ADD, 0, &event);
    puts("ready"); fflush(stdout);
#ifdef EPOLL
    int count = epoll_wait(queue, &event, 1, -1);
#else
    int count = poll(&descriptor, 1, -1);
#endif
    puts(count == 1 ? "right" : "wrong");
    return 0;
}
