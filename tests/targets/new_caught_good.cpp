// operator new throws std::bad_alloc from aligned, array and container forms, and each is caught.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
// flags: -std=c++17
#include <cstdio>
#include <map>
#include <memory>
#include <new>
#include <string>

struct alignas(64) Line {
    char bytes[64];
};

static void run()
{
    auto line = std::make_unique<Line>();
    line->bytes[0] = 'a';
    std::unique_ptr<char[]> array(new char[500]);
    array[0] = line->bytes[0];
    std::map<std::string, int> names;
    names["a name too long for the small-string buffer"] = array[0];
    std::fprintf(stderr, "%zu %d\n", names.size(), names.begin()->second);
}

int main()
{
    try {
        run();
        return 0;
    } catch (const std::bad_alloc &error) {
        std::fprintf(stderr, "caught: %s\n", error.what());
        return 1;
    }
}
