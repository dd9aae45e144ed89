// The client: `ask [-w] [-C FOLDER] WORD` sends a word and prints the answer.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int patient = 0, option;
    while ((option = getopt(argc, argv, "wC:")) != -1)
        if (option == 'w')
            patient = 1;
        else if (option != 'C' || chdir(optarg))
            return 2;
    if (argc - optind != 1)
        return 2;
    alarm(250);
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    for (;;) {
        char answer[64];
        ssize_t length = -1;
        int server = socket(AF_UNIX, SOCK_STREAM, 0);
        if (!connect(server, (struct sockaddr *)&address, sizeof address) &&
            write(server, argv[optind], strlen(argv[optind])) > 0)
            length = read(server, answer, sizeof answer);
        if (length > 0)
            return fwrite(answer, length, 1, stdout) != 1 || fflush(stdout);
        if (!patient) {
            fprintf(stderr, "no answer: %s\n", length ? strerror(errno) : "the connection was closed");
            return 1;
        }
        close(server);
        usleep(5000);
    }
}
