// Static probes with texts of every kind. For each line of input all of them are hit once, and the program writes what
// should be seen of each with the formats of texts.events.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "note.h"

#define PLACE(PROBE, OPERANDS) SITE("texts", PROBE, OPERANDS)

struct holder { long number; const char *text; };
const char *global_text = "in a global variable";

// A page of a file that nobody has touched through this mapping.
static const char *not_touched(void) {
    char name[] = "/tmp/texts-XXXXXX";
    int file = mkstemp(name);
    char page[4096] = "nobody has touched it";
    if (file < 0 || write(file, page, sizeof page) != sizeof page) abort();
    fsync(file);
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    const char *text = mmap(NULL, sizeof page, PROT_READ, MAP_PRIVATE, file, 0);
    unlink(name);
    close(file);
    return text;
}

// The end of a page behind which nothing can be read.
static char *end_of_mapping(void) {
    char *pages = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(pages + 4096, 4096, PROT_NONE);
    return pages + 4096;
}

int main(void) {
    char line[16];
    char *end = end_of_mapping();
    static char big[5001], turning[] = "turn 0";
    memset(big, 'x', 5000);
    while (fgets(line, sizeof line, stdin)) {
        turning[5]++;
        asm volatile(PLACE("text_register", "8@%%rsi") :: "S"(turning) : "memory");
        printf("text_register text %s\n", turning);
        struct holder holder = {1, turning};
        asm volatile(PLACE("text_memory", "-8@(%%rbx) 8@8(%%rbx)") :: "b"(&holder), "m"(holder) : "memory");
        printf("text_memory number 1 text %s\n", turning);
        asm volatile(PLACE("text_global", "8@global_text(%%rip) 8@global_text(%%rip)") ::: "memory");
        printf("text_global text %s at %p\n", global_text, (void *)global_text);
        DTRACE_PROBE3(texts, text_compiled, "one", turning, "");
        printf("text_compiled '%s' '%s' '%s'\n", "one", turning, "");
        DTRACE_PROBE2(texts, text_null, NULL, 5);
        printf("text_null text (null) number 5\n");
        DTRACE_PROBE2(texts, text_bad, (char *)0x10, "good");
        printf("text_bad text <fault> good\n");
        // Not canonical: no address at all.
        DTRACE_PROBE2(texts, text_bad, (char *)0x8000000000000010, "good");
        printf("text_bad text <fault> good\n");
        // An address of the kernel.
        DTRACE_PROBE2(texts, text_bad, (char *)0xffffffff81000000, "good");
        printf("text_bad text <fault> good\n");
        memcpy(end - 6, "bound", 6);
        DTRACE_PROBE1(texts, text_bound, end - 6);
        printf("text_bound text bound\n");
        end[-1] = '!';
        DTRACE_PROBE1(texts, text_over, end - 6);
        printf("text_over text <fault>\n");
        DTRACE_PROBE1(texts, text_not_touched, not_touched());
        printf("text_not_touched text nobody has touched it\n");
        DTRACE_PROBE1(texts, text_long, big);
        printf("text_long text %s\n", big);
        DTRACE_PROBE1(texts, text_strange, "a\nb\033c\377d \342\202\254");
        printf("text_strange text strange\n");
        // The file of formats knows of more arguments than there are.
        DTRACE_PROBE1(texts, fewer, -3);
        printf("fewer number -3 text <absent>\n");
        printf(".\n");
        fflush(stdout);
    }
    return 0;
}
