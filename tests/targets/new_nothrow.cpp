// Uses the result of operator new (nothrow) unseen.
// expect: crashed
// never: corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#ifndef CHECKED
#define CHECKED 0 // the good twin sets 1
#endif
#include <cstdio>
#include <cstdlib>
#include <new>

__attribute__((noinline)) static int *numbers(std::size_t n)
{
    int *p = new (std::nothrow) int[n];
    if (CHECKED && !p) {
        std::fputs("out of memory\n", stderr);
        std::exit(1);
    }
    p[0] = 42;
    return p;
}

int main()
{
    int *a = numbers(10), *b = numbers(1000);
    std::fprintf(stderr, "%d\n", a[0] + b[0]);
    delete[] a;
    delete[] b;
    return 0;
}
