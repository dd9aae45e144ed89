// Static probes with operands of every kind. For each line of input all of them are hit once, and the program writes
// what should be seen of each, as a line of `memtrial trace run` without what stands before the name.
#include <stdint.h>
#include <stdio.h>

#include "note.h"

#define PLACE(PROBE, OPERANDS) SITE("operands", PROBE, OPERANDS)

// What registers and memory hold: each byte differs from its neighbours, and half of the numbers are negative.
uint64_t values[16];
uint64_t stack_pointer;
struct { int32_t before, number, behind; } initialized = {1, -77777, 3};
int64_t zeroed[4];
static int16_t hidden __attribute__((used)) = -1234;
static uint64_t hidden_zeroed __attribute__((used));
int32_t counter;

void registers(void);
asm(".text\n"
    ".globl registers\n"
    ".type registers, @function\n"
    "registers:\n"
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "mov values(%rip), %rax; mov values+8(%rip), %rdx; mov values+16(%rip), %rcx; mov values+24(%rip), %rbx\n"
    "mov values+32(%rip), %rsi; mov values+40(%rip), %rdi; mov values+48(%rip), %rbp; mov %rsp, stack_pointer(%rip)\n"
    "mov values+64(%rip), %r8; mov values+72(%rip), %r9; mov values+80(%rip), %r10; mov values+88(%rip), %r11\n"
    "mov values+96(%rip), %r12; mov values+104(%rip), %r13; mov values+112(%rip), %r14; mov values+120(%rip), %r15\n"
    PLACE("eight", "8@%rax -8@%rdx 8@%rcx -8@%rbx 8@%rsi -8@%rdi 8@%rbp 8@%rsp")
    PLACE("eight_more", "8@%r8 -8@%r9 8@%r10 -8@%r11 8@%r12 -8@%r13 8@%r14 -8@%r15")
    PLACE("four", "4@%eax -4@%edx 4@%ecx -4@%ebx 4@%esi -4@%edi 4@%ebp -4@%r8d 4@%r9d -4@%r15d")
    PLACE("two", "2@%ax -2@%dx 2@%cx -2@%bx 2@%si -2@%di 2@%bp -2@%r8w 2@%r9w -2@%r15w")
    PLACE("one_byte", "1@%al -1@%dl 1@%cl -1@%bl 1@%sil -1@%dil 1@%bpl -1@%r8b 1@%r9b -1@%r15b")
    PLACE("second_byte", "1@%ah -1@%dh 1@%ch -1@%bh")
    PLACE("whole_word", "%rax $-5")
    PLACE("constants", "-4@$7 4@$7 -8@$-5 -1@$-128 1@$255 2@$65535 8@$-1 4@$0x10")
    "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "ret\n"
    ".size registers, .-registers\n");

static void print_registers(void) {
    int order[] = {0, 1, 2, 3, 4, 5, 6, 8, 9, 15};
    printf("eight");
    for (int i = 0; i < 7; i++) printf(i % 2 ? " arg%d=%ld" : " arg%d=%lu", i + 1, values[i]);
    printf(" arg8=%lu\neight_more", stack_pointer);
    for (int i = 0; i < 8; i++) printf(i % 2 ? " arg%d=%ld" : " arg%d=%lu", i + 1, values[8 + i]);
    printf("\nfour");
    for (int i = 0; i < 10; i++) printf(i % 2 ? " arg%d=%d" : " arg%d=%u", i + 1, (uint32_t)values[order[i]]);
    printf("\ntwo");
    for (int i = 0; i < 10; i++)
        printf(" arg%d=%d", i + 1, i % 2 ? (int16_t)values[order[i]] : (uint16_t)values[order[i]]);
    printf("\none_byte");
    for (int i = 0; i < 10; i++)
        printf(" arg%d=%d", i + 1, i % 2 ? (int8_t)values[order[i]] : (uint8_t)values[order[i]]);
    printf("\nsecond_byte");
    for (int i = 0; i < 4; i++)
        printf(" arg%d=%d", i + 1, i % 2 ? (int8_t)(values[i] >> 8) : (uint8_t)(values[i] >> 8));
    printf("\nwhole_word arg1=%lu arg2=%lu\n", values[0], -5L);
    printf("constants arg1=7 arg2=7 arg3=-5 arg4=-128 arg5=255 arg6=65535 arg7=18446744073709551615 arg8=16\n");
}

static void memory(void) {
    int64_t block[8] = {-11, 22, -33, 44, -55, 66, -77, 88};
    asm volatile(PLACE("based", "8@(%%rbx) -8@8(%%rbx) 4@-16(%%rbx) -4@-16(%%rbx) -2@0(%%rbx) 1@(%%rbx) -1@0x8(%%rbx)")
                 PLACE("indexed", "-8@(%%rbx,%%rcx,8) -8@-32(%%rbx,%%rcx,8) -4@8(%%rbx,%%rcx,4) 8@-4(%%rbx,%%rcx,4) "
                                  "-8@-3(%%rbx,%%rcx) -8@2(%%rbx,%%rcx,2)")
                 :: "b"(block + 4), "c"(3L), "m"(block));
    int64_t *middle = block + 4;
    printf("based arg1=%lu arg2=%ld arg3=%u arg4=%d arg5=%d arg6=%u arg7=%d\n", middle[0], middle[1],
           (uint32_t)middle[-2], (int32_t)middle[-2], (int16_t)middle[0], (uint8_t)middle[0], (int8_t)middle[1]);
    printf("indexed arg1=%ld arg2=%ld arg3=%d arg4=%lu arg5=%ld arg6=%ld\n", middle[3], middle[-1],
           *(int32_t *)((char *)middle + 20), *(uint64_t *)((char *)middle + 8), middle[0], middle[1]);
    // The page at 0 is never there.
    asm volatile(PLACE("bad", "8@(%%rbx) -4@16(%%rbx) -4@$7 8@0(%%rbx,%%rcx,8)") :: "b"(8L), "c"(3L));
    printf("bad arg1=<fault> arg2=<fault> arg3=7 arg4=<fault>\n");
}

static void globals(void) {
    zeroed[2] = -9876543210;
    hidden_zeroed++;
    asm volatile(PLACE("global", "-4@4+initialized(%%rip) -4@initialized(%%rip) -8@16+zeroed(%%rip) "
                                 "-2@hidden(%%rip) 8@hidden_zeroed(%%rip) 4@initialized+8(%%rip)") ::: "memory");
    printf("global arg1=%d arg2=%d arg3=%ld arg4=%d arg5=%lu arg6=%u\n", initialized.number, initialized.before,
           zeroed[2], hidden, hidden_zeroed, initialized.behind);
}

static void vectors(void) {
    asm volatile(PLACE("vector", "-4@$1 8f@%%xmm0 -4@$2") :: "x"(1.5));
    printf("vector arg1=1 arg2=<unfetchable> arg3=2\n");
}

// As the compiler has it.
static void compiled(uint8_t a, int8_t b, uint16_t c, int16_t d, uint32_t e, int32_t f, uint64_t g, int64_t h) {
    DTRACE_PROBE(operands, none);
    printf("none\n");
    DTRACE_PROBE1(operands, one, h);
    printf("one arg1=%ld\n", h);
    DTRACE_PROBE5(operands, five, a, b, counter, &counter, 5);
    printf("five arg1=%u arg2=%d arg3=%d arg4=%lu arg5=5\n", a, b, counter, (uint64_t)&counter);
    DTRACE_PROBE12(operands, twelve, a, b, c, d, e, f, g, h, 9, counter, initialized.number, zeroed[2]);
    printf("twelve arg1=%u arg2=%d arg3=%u arg4=%d arg5=%u arg6=%d arg7=%lu arg8=%ld arg9=9 arg10=%d arg11=%d arg12=%ld\n",
           a, b, c, d, e, f, g, h, counter, initialized.number, zeroed[2]);
    // Three sites of one probe, with different operands, and the last with fewer.
    DTRACE_PROBE2(operands, sites, 1, h);
    printf("sites arg1=1 arg2=%ld\n", h);
    DTRACE_PROBE2(operands, sites, c, 2);
    printf("sites arg1=%u arg2=2\n", c);
    DTRACE_PROBE1(operands, sites, counter);
    printf("sites arg1=%d arg2=<absent>\n", counter);
    DTRACE_PROBE1(operands, two__words, d);
    printf("two__words arg1=%d\n", d);
}

int main(void) {
    char line[16];
    while (fgets(line, sizeof line, stdin)) {
        counter++;
        for (int i = 0; i < 16; i++) values[i] = (0x8182838485868788 ^ (i % 3 ? 0 : 0x8080808080808080)) + i * 0x1011 + counter;
        registers();
        print_registers();
        memory();
        globals();
        vectors();
        compiled(255, -128, 65535, -32768, 4294967295, -2147483648, 18446744073709551615u, INT64_MIN);
        compiled(counter, -counter, counter, -counter, counter, -counter, counter, -counter);
        printf(".\n");
        fflush(stdout);
    }
    return 0;
}
