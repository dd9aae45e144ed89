// Notes of static probes with operands of one's own choice, which no compiler can be made to choose. <sys/sdt.h> is
// needed for `_.stapsdt.base`.
#include <sys/sdt.h>

// Assembly for a site of PROBE with these OPERANDS.
#define SITE(PROVIDER, PROBE, OPERANDS) \
    "990: nop\n" \
    ".pushsection .note.stapsdt,\"\",\"note\"\n" \
    ".balign 4\n" \
    ".4byte 992f-991f, 994f-993f, 3\n" \
    "991: .asciz \"stapsdt\"\n" \
    "992: .balign 4\n" \
    "993: .8byte 990b, _.stapsdt.base, 0\n" \
    ".asciz \"" PROVIDER "\"\n" \
    ".asciz \"" PROBE "\"\n" \
    ".asciz \"" OPERANDS "\"\n" \
    "994: .balign 4\n" \
    ".popsection\n"
