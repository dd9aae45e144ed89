// Sleeps when memory runs out, and relies on its alarm to end it, which a clone does not inherit.
// expect: handled
// never: crashed,corrupted,hung,silent,misreported,asserted,aborted,damaged,unreached
#define CHECKED 1
#include "alarm_watchdog.c"
