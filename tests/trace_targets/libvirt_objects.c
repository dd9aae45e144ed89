// Opens a connection to libvirt's test driver for each line of input, asks it for a domain, and closes it. The library's
// headers are not needed for that.
#include <stdio.h>

typedef struct connection *connection;
typedef struct domain *domain;
connection virConnectOpen(const char *name);
int virConnectClose(connection connection);
domain virDomainLookupByName(connection connection, const char *name);
int virDomainFree(domain domain);

int main(void) {
    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        connection opened = virConnectOpen("test:///default");
        domain found = opened ? virDomainLookupByName(opened, "test") : NULL;
        printf("connection %p domain %p\n", (void *)opened, (void *)found);
        if (found) virDomainFree(found);
        if (opened) printf("references left %d\n", virConnectClose(opened));
        printf(".\n");
        fflush(stdout);
    }
    return 0;
}
