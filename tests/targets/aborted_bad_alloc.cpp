// Nobody catches std::bad_alloc, so the runtime calls std::terminate.
// expect: aborted
// never: crashed,corrupted,hung,silent,misreported,asserted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <cstdio>
#include <new>
#include <vector>

__attribute__((noinline)) static std::vector<int> numbers(int n)
{
    std::vector<int> v;
    for (int i = 0; i < n; i++)
        v.push_back(i * i);
    return v;
}

static int run()
{
    int sum = 0;
    for (int i : numbers(20))
        sum += i;
    std::printf("%d\n", sum);
    return 0;
}

int main()
{
#if CHECKED
    try {
        return run();
    } catch (const std::bad_alloc &) {
        std::fputs("out of memory\n", stderr);
        return 1;
    }
#else
    return run();
#endif
}
