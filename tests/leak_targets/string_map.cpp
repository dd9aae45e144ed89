// A map that gets a new key and a string too long to be kept in place in every round; the twin's has ten keys.
// site: log_line 2 x ?
#include "daemon.h"
#include <map>
#include <string>

static std::map<unsigned, std::string> lines;

NOINLINE static void log_line(unsigned round)
{
    unsigned key = GOOD ? round % 10 : round;
    lines.erase(key);
    lines.emplace(key, std::string(100, 'x'));
}

int main()
{
    serve(log_line);
}
