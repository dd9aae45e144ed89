// An object of `new` that is never deleted, with a vector in it.
// site: open_session 1 x 64
// site: Session::Session 1 x 400
// unreachable: yes
#include "daemon.h"
#include <vector>

struct Session {
    NOINLINE explicit Session(unsigned round) : values(100, round), round(round) {}
    std::vector<int> values;
    unsigned round;
    char rest[32] = {};
};

NOINLINE static void open_session(unsigned round)
{
    Session *session = new Session(round);
    __asm__ volatile("" : : "r"(session) : "memory");
    if (GOOD)
        delete session;
}

int main()
{
    static_assert(sizeof(Session) == 64);
    serve(open_session);
}
