/* Marks in a program that memtrial traces: a moment of its own among the events that it is seen with.
 *
 *     #include "memtrial.h"
 *     memtrial_note("query begins");
 *
 * Nothing is linked: under `memtrial trace exec` the agent defines memtrial_mark, and the note is the event `memtrial:mark`.
 * Without it a note costs a load and a branch. */
#ifndef MEMTRIAL_H
#define MEMTRIAL_H

#if !defined(__GNUC__)
#error "memtrial.h needs a compiler that knows weak symbols as GCC and Clang do"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The agent's; a null pointer in a program that runs without it. `text` ends in a NUL, and is not kept. */
extern void memtrial_mark(const char *text) __attribute__((weak));

/* Marks this moment if somebody looks. It is inline so that the event's caller is the function that it stands in. */
static inline __attribute__((always_inline, unused)) void memtrial_note(const char *text)
{
#if defined(__x86_64__)
    /* In an executable that is linked to a fixed address, the linker would decide that there is no such function. From
     * the global offset table the address is read when the program runs. */
    const void *there;
    __asm__("movq memtrial_mark@GOTPCREL(%%rip), %0" : "=r"(there));
    if (there)
#else
    if (memtrial_mark)
#endif
        memtrial_mark(text);
}

#ifdef __cplusplus
}
#endif

#endif
