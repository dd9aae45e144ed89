// Probes of QEMU, with arguments of QEMU's types. For each line of input all of them are hit once, and the program writes
// what QEMU's own log has then behind the name, by the formats of QEMU's trace-events file.
#include <inttypes.h>
#include <stdio.h>

#include <sys/sdt.h>

int main(void) {
    char line[16], ioc[8], addr[8];
    int fd = 4;
    while (fgets(line, sizeof line, stdin)) {
        fd++;
        DTRACE_PROBE1(qemu, qio_channel_socket_new, (void *)ioc);
        printf("qio_channel_socket_new Socket new ioc=%p\n", ioc);
        DTRACE_PROBE2(qemu, qio_channel_socket_new_fd, (void *)ioc, fd);
        printf("qio_channel_socket_new_fd Socket new ioc=%p fd=%d\n", ioc, fd);
        DTRACE_PROBE3(qemu, qio_channel_socket_listen_sync, (void *)ioc, (void *)addr, -fd);
        printf("qio_channel_socket_listen_sync Socket listen sync ioc=%p addr=%p num=%d\n", ioc, addr, -fd);
        DTRACE_PROBE5(qemu, qio_channel_file_new_path, (void *)ioc, (const char *)"/dev/null", fd * 2, 0600, fd);
        printf("qio_channel_file_new_path File new fd ioc=%p path=%s flags=%d mode=%d fd=%d\n", ioc, "/dev/null", fd * 2,
               0600, fd);
        uint64_t address = 0xfee00000u + fd, value = UINT64_MAX - fd;
        unsigned size = 4;
        DTRACE_PROBE6(qemu, memory_region_ops_write, -1, (void *)addr, address, value, size, (const char *)"apic-msi");
        printf("memory_region_ops_write cpu %d mr %p addr 0x%" PRIx64 " value 0x%" PRIx64 " size %u name '%s'\n", -1,
               (void *)addr, address, value, size, "apic-msi");
        printf(".\n");
        fflush(stdout);
    }
    return 0;
}
