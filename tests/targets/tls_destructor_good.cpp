// The destructor of a thread-local object allocates while its thread ends; glibc itself aborts when it cannot
// register the destructor, whatever the program does.
// expect: handled,aborted
// never: crashed,corrupted,hung,silent,misreported,asserted,damaged,unreached
// link: -pthread
#define CHECKED 1
#include "tls_destructor.cpp"
