// Static probes of the kinds that a list has to tell apart: one with several sites, one with a semaphore of its own, ones
// whose operands are in places that can't be fetched, and one whose site is a nop of 5 bytes.
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
#include <stdio.h>
#include <unistd.h>

#define SEMAPHORE(name) __extension__ unsigned short listing_##name##_semaphore __attribute__((unused, section(".probes")))
SEMAPHORE(step__begin);
SEMAPHORE(step__end);

int shown = 7;
static int hidden = 9;
__thread int own = 11;

/* A note as sys/sdt.h writes it, with operands that no C expression makes the compiler choose. */
#define NOTE(nop, name, arguments) __asm__ volatile( \
    "990: " nop "\n" \
    ".pushsection .note.stapsdt,\"?\",\"note\"\n.balign 4\n.4byte 992f-991f,994f-993f,3\n" \
    "991: .asciz \"stapsdt\"\n992: .balign 4\n993: .8byte 990b\n.8byte _.stapsdt.base\n.8byte 0\n" \
    ".asciz \"listing\"\n.asciz \"" name "\"\n.asciz \"" arguments "\"\n994: .balign 4\n.popsection\n")

__attribute__((noinline)) static void step(int number, const char *text)
{
    DTRACE_PROBE2(listing, step__begin, number, text);
    __asm__ volatile("" : : "r"(number));
    if (number & 1)
        DTRACE_PROBE1(listing, step__end, number);
    else
        DTRACE_PROBE1(listing, step__end, (short)number);
}

int main(void)
{
    hidden += shown + own;
    step(1, "one");
    step(2, "two");
    NOTE("nop", "variables", "-4@shown(%rip) -4@hidden(%rip) 4@own(%rip) 4@gone(%rip)");
    NOTE("nop", "places", "8f@%xmm0 8@-8(%rbp,%rax,8) 4@%fs:-4 16@%rax 1@%ah");
    NOTE(".byte 0x0f, 0x1f, 0x44, 0, 0", "five", "");
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
