"""Programs run beside each other: their environment, their time by the clock and by the processor."""

import os
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin", "LC_ALL": "C",
               "HOME": "/nonexistent"}
ACCOUNTS = "/sys/fs/cgroup/cpuacct"


def run(command, folder, **more):
    return subprocess.run(command, cwd=folder, env={**ENVIRONMENT, **more}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)


def timed(command, folder, **more):
    start = time.monotonic()
    result = run(command, folder, **more)
    return time.monotonic() - start, result


class Account:
    """The processor time of a command and all that it starts, in a control group of its own where that can be made;
    else only of what it has waited for."""

    def __init__(self):
        self.group = f"{ACCOUNTS}/memtrial-bench-{os.getpid()}"
        try:
            os.mkdir(self.group)
        except OSError:
            self.group = None

    def seconds(self, command, folder, **more):
        """Runs a command; returns the processor seconds that it took, and its result."""
        before = self.used()
        group = self.group

        def enter():
            if group:
                with open(f"{group}/cgroup.procs", "w") as file:
                    file.write("0")

        result = subprocess.run(command, cwd=folder, env={**ENVIRONMENT, **more}, stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, preexec_fn=enter)
        while group and self.lives():
            time.sleep(0.01)
        return self.used() - before, result

    def used(self):
        if self.group:
            with open(f"{self.group}/cpuacct.usage") as file:
                return int(file.read()) / 1e9
        times = os.times()
        return times.children_user + times.children_system

    def lives(self):
        with open(f"{self.group}/cgroup.procs") as file:
            return bool(file.read())

    def close(self):
        if self.group:
            os.rmdir(self.group)


def compile_c(folder, name, *flags):
    subprocess.check_call(["gcc", "-O2", *flags, "-o", f"{folder}/{name}", f"{HERE}/{name.removesuffix('.so')}.c"])


def table(*columns):
    """Begins a Markdown table."""
    row(*columns)
    row(*("---" for _ in columns))


def row(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)
