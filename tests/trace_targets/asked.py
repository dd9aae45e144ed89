"""For each line of input calls a function, collects garbage and raises an event for auditors."""

import gc
import sys


def greet(whom):
    return "hello " + whom


gc.disable()
for line in iter(sys.stdin.readline, ""):
    greet(line)
    cycle = []
    cycle.append(cycle)
    del cycle
    collected = gc.collect(1)
    sys.audit("memtrial.test", line)
    print(f"collected {collected}\n.", flush=True)
