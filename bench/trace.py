#!/usr/bin/env python3
"""Measures `memtrial trace`, side by side with bpftrace and heaptrack in one run.

    bench/trace.py [--memtrial PATH] [--rounds N] [--hits N] [--only hit|attach|events|recording]

Prints Markdown tables. Takes root, and gcc with <sys/sdt.h>; what of bpftrace, heaptrack, PostgreSQL and a JVM is not there is
left out, and said. Everything is made in a temporary folder. Takes some ten minutes on two cores.
"""

import argparse
import glob
import json
import mmap
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from contest import ENVIRONMENT, HERE, compile_c, row, run, table, timed

TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "..", "target"))
BREAKPOINT = 0xCC
PAIRS = 5_000_000
# Lines are written by system calls in the target: so many pairs tell enough.
PAIRS_OF_ALL = 200_000
PATIENCE = 300
# bpftrace has a program for each probe, and wants to be told that there may be so many.
MANY = {"BPFTRACE_MAX_BPF_PROGS": "4096", "BPFTRACE_MAX_PROBES": "4096"}
FIVE = ('five(uint64_t number, const char *name, int fd, uint64_t offset, uint32_t bytes) '
        '"number=%" PRIu64 " name=%s fd=%d offset=%" PRIu64 " bytes=%u"\nzero(void) ""\n')
BY_BPFTRACE = {
    "zero": 'printf("%d@%llu:zero\\n", pid, nsecs)',
    "five": 'printf("%d@%llu:five number=%llu name=%s fd=%d offset=%llu bytes=%u\\n", '
            'pid, nsecs, arg0, str(arg1), arg2, arg3, arg4)',
}
WORKLOADS = {
    "CPython: a list of 1,500,000 dicts": ["python3", "-c", "print(len([{i: str(i)} for i in range(1500000)]))"],
    "gawk: an array of 1,500,000 texts": ["gawk", "BEGIN { for (i = 0; i < 1500000; i++) a[i] = i \"x\"; print length(a) }"],
    "sqlite3: 500,000 rows, indexed": ["sqlite3", ":memory:",
                                       "create table t(a text); with recursive n(i) as (values(1) union all select i + 1 from n "
                                       "where i < 500000) insert into t select 'row ' || i from n; create index x on t(a); "
                                       "select count(*) from t;"],
}


def median(values):
    return statistics.median(values)


def missing(*programs):
    """Says what is not installed; whether anything is."""
    absent = [program for program in programs if not shutil.which(program)]
    if absent:
        print(f"\nLeft out: {', '.join(absent)} is not installed.")
    return bool(absent)


def sites(path):
    """Where the static probes of a file are in it: offsets by name."""
    read = lambda *flags: subprocess.run(["readelf", "-W", *flags, path], capture_output=True, text=True, check=True).stdout
    loads = [[int(word, 16) for word in match] for match in
             re.findall(r"^  LOAD +(0x\w+) (0x\w+) 0x\w+ (0x\w+)", read("-l"), re.M)]
    found = {}
    for name, location in re.findall(r"Name: (\S+)\n\s+Location: (0x\w+)", read("-n")):
        address = int(location, 16)
        found.setdefault(name, []).extend(offset + address - start for offset, start, size in loads
                                          if start <= address < start + size)
    return found


class Code:
    """The code of a file as a process has it: where somebody watches a site, there is a breakpoint."""

    def __init__(self, path, offsets):
        self.file = open(path, "rb")
        self.bytes = mmap.mmap(self.file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC)
        self.offsets = offsets

    def watched(self):
        return sum(self.bytes[offset] == BREAKPOINT for offset in self.offsets)

    def wait(self, tracer):
        """Until all sites are watched; whether they came to be."""
        begun = time.monotonic()
        while self.watched() < len(self.offsets):
            if tracer.poll() is not None or time.monotonic() - begun > PATIENCE:
                return False
            time.sleep(0.002)
        return True

    def close(self):
        self.bytes.close()
        self.file.close()


class Trace:
    """A tracer at work: from its start until all sites are watched, and from the interrupt until it has ended."""

    def __init__(self, command, code, folder):
        self.said = f"{folder}/said"
        self.begun = time.monotonic()
        with open(self.said, "w") as said:
            self.process = subprocess.Popen(command, cwd=folder, env={**ENVIRONMENT, **MANY}, stdin=subprocess.DEVNULL,
                                            stdout=said, stderr=said)
        if not code.wait(self.process):
            self.process.kill()
            with open(self.said) as said:
                sys.exit(f"{command[:4]}: not all sites came to be watched:\n{said.read()[-800:]}")
        self.attaching = time.monotonic() - self.begun

    def settle(self):
        """Until it has done what there was to do: it took no processor time for a second."""
        def ticks():
            with open(f"/proc/{self.process.pid}/stat") as file:
                return sum(int(word) for word in file.read().rpartition(")")[2].split()[11:13])

        before = -1
        while before != (before := ticks()):
            time.sleep(1)

    def stop(self):
        """Seconds to its end, its processor seconds, and what it said."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        _, _, usage = os.wait4(self.process.pid, 0)
        seconds = time.monotonic() - begun
        self.process.returncode = 0
        with open(self.said, errors="replace") as said:
            return seconds, usage.ru_utime + usage.ru_stime, said.read()


def lines_of(path, name):
    with open(path, errors="replace") as file:
        return sum(f":{name}" in line for line in file)


def hit(options, folder):
    print("\n## A hit\n")
    if missing("bpftrace"):
        return
    compile_c(folder, "probes", "-no-pie")
    with open(f"{folder}/five.events", "w") as file:
        file.write(FIVE)
    binary = f"{folder}/probes"
    print(f"{options.hits:,} hits without a pause, printed to a file, in turns, medians of {options.rounds}. *in the program* is what a "
          "hit costs it by the clock, *to print* the tracer's processor time for each line that it wrote. What is lost "
          "costs nobody anything, so compare *in all* with that in mind; *of bpftrace* is the share that memtrial's has "
          "of it: at most 0.2 is wanted.\n")
    table("arguments", "tracer", "in the program", "to print", "in all", "of bpftrace", "range", "printed", "said to be lost")
    for name in ("zero", "five"):
        commands = {
            "none": None,
            "memtrial": [options.memtrial, "trace", "run", binary, name, "--events", f"{folder}/five.events", "-o", f"{folder}/out"],
            "bpftrace": ["bpftrace", "-o", f"{folder}/out", "-e", f"usdt:{binary}:bench:{name} {{ {BY_BPFTRACE[name]} }}"],
        }
        rows = {tracer: [] for tracer in commands}
        for _ in range(options.rounds):
            for tracer, command in commands.items():
                code = Code(binary, sites(binary)[name])
                trace = command and Trace(command, code, folder)
                inside = float(run([binary, name, str(options.hits)], folder).stdout)
                if not trace:
                    rows[tracer].append((inside, 0, inside, 0, 0))
                else:
                    trace.settle()
                    _, processor, said = trace.stop()
                    printed = lines_of(f"{folder}/out", name)
                    with open(f"{folder}/out", errors="replace") as file:
                        said += "".join(line for line in file if line.startswith("Lost"))
                    lost = sum(int(number.replace(",", "")) for number in re.findall(r"Lost ([\d,]+)|([\d,]+) lost", said)
                               for number in number if number)
                    to_print = processor / max(printed, 1) * 1e9
                    rows[tracer].append((inside, to_print, inside + to_print, printed, lost))
                code.close()
        ratios = [ours[2] / theirs[2] for ours, theirs in zip(rows["memtrial"], rows["bpftrace"])]
        for tracer, values in rows.items():
            inside, to_print, both, printed, lost = (median(column) for column in zip(*values))
            share = (f"{median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}") if tracer == "memtrial" else ("", "")
            row("none" if name == "zero" else "5, one a text", tracer, f"{inside:,.1f} ns", f"{to_print:,.0f} ns", f"{both:,.0f} ns",
                *share, f"{printed:,.0f}", f"{lost:,.0f}")


def attach(options, folder):
    print("\n## Attaching and detaching\n")
    print(f"All static probes of a file. *attached* is from the start of the tracer until a process that has the file mapped has "
          f"breakpoints at all sites, *detached* from the interrupt until the tracer has ended; medians of {options.rounds}.\n")
    table("file", "probes", "sites", "tracer", "attached", "detached")
    left_out = []
    for pattern in ("/usr/lib/postgresql/*/bin/postgres", "/usr/lib/jvm/java-17*/lib/server/libjvm.so"):
        path = next(iter(sorted(glob.glob(pattern))), None)
        if not path:
            left_out.append(pattern)
            continue
        path = os.path.realpath(path)
        offsets = sites(path)
        every = sorted({offset for all in offsets.values() for offset in all})
        commands = {
            "memtrial": [options.memtrial, "trace", "run", path, "--count"],
            "bpftrace": shutil.which("bpftrace") and ["bpftrace", "-e", f"usdt:{path}:* {{ @[probe] = count() }}"],
        }
        for tracer, command in commands.items():
            if not command:
                left_out.append(tracer)
                continue
            times = []
            for _ in range(options.rounds):
                code = Code(path, every)
                trace = Trace(command, code, folder)
                times.append((trace.attaching, trace.stop()[0]))
                if code.watched():
                    sys.exit(f"{tracer} has left {code.watched()} breakpoints")
                code.close()
            attached, detached = (median(column) for column in zip(*times))
            row(os.path.basename(path), len(offsets), len(every), tracer, f"{attached:.2f} s", f"{detached:.2f} s")
    if left_out:
        print(f"\nLeft out, for it is not there: {', '.join(left_out)}.")


def exec_line(options, patterns, backends, command):
    words = [word for backend in backends for word in ("--backend", backend)]
    return [options.memtrial, "trace", "exec", *patterns, *words, *([] if words else ["-o", "/dev/null"]), "-q", "--", *command]


def clocked(command):
    """A command that says on stderr, in a line of its own, how many seconds it took by the clock."""
    return ["bash", "-c", 'TIMEFORMAT=%R; time "$@"', "bash", *command]


def own_seconds(result):
    """What it said."""
    said = re.findall(r"^(\d+\.\d+)$", result.stderr, re.M)
    if result.returncode != 0 or not said:
        sys.exit(f"{result.args[:4]}: status {result.returncode}: {result.stderr[-400:]}")
    return float(said[-1])


def usable(options, folder):
    """Backends that this machine has, and those that it has not."""
    found = json.loads(run([options.memtrial, "doctor", "--json"], folder).stdout)
    needs = {need["name"]: need["works"] == "yes" for trial in found["trials"] for need in trial["needs"]}
    names = ("syslog", "ftrace", "ust")
    has = lambda name: needs.get(f"--backend {name}", False)
    return [name for name in names if has(name)], [name for name in names if not has(name)]


def events(options, folder):
    print("\n## A memory event\n")
    compile_c(folder, "pairs", "-pthread")
    here, absent = usable(options, folder)
    print(f"Pairs of malloc and free ({PAIRS:,}; {PAIRS_OF_ALL:,} with all backends), each an `alloc` and a `free`, by the clock, in "
          f"turns, medians of {options.rounds}. What is more than without the agent is divided by two events a pair; the "
          "program's start is taken off. Nobody reads along. *nothing enabled*: only `mark` is."
          + (f" Not on this machine: {', '.join(absent)}." if absent else "") + "\n")
    both = ["memtrial:alloc", "memtrial:free"]
    ways = {
        "without the agent": (PAIRS, None, None),
        "nothing enabled": (PAIRS, ["memtrial:mark"], []),
        "`simple`": (PAIRS, both, [f"simple={folder}/recording"]),
        "`log`": (PAIRS_OF_ALL, both, [f"log={folder}/log"]),
        **{f"`{name}`": (PAIRS_OF_ALL, both, [name]) for name in here},
        "all of them": (PAIRS_OF_ALL, both, [f"simple={folder}/recording", f"log={folder}/log", *here]),
    }

    def seconds(pairs, patterns, backends):
        for name in ("recording", "log"):
            if os.path.exists(f"{folder}/{name}"):
                os.remove(f"{folder}/{name}")
        command = clocked([f"{folder}/pairs", "1", str(pairs)])
        return own_seconds(run(command if patterns is None else exec_line(options, patterns, backends, command), folder))

    costs = {way: [] for way in ways}
    for _ in range(options.rounds):
        for way, (pairs, patterns, backends) in ways.items():
            costs[way].append((seconds(pairs, patterns, backends) - seconds(1, patterns, backends)) / pairs * 1e9)
    table("way", "a pair", "an event")
    alone = median(costs["without the agent"])
    for way, values in costs.items():
        cost = median(values)
        row(way, f"{cost:,.1f} ns", "" if way == "without the agent" else f"{(cost - alone) / 2:,.1f} ns")


def recording(options, folder):
    print("\n## A recording beside heaptrack's\n")
    if missing("heaptrack"):
        return
    print(f"Programs alone, recorded by `--backend simple=FILE`, and by heaptrack, by the clock, in turns, medians of {options.rounds}: "
          "until the program has ended, and until the tracer has. heaptrack's file is compressed, and has call stacks, which "
          "a recording has not; it has each block's address, size and caller.\n")
    table("program", "alone", "memtrial, the program", "to the end", "heaptrack, to the end", "memtrial of heaptrack", "its file", "heaptrack's")
    size = lambda path: os.path.getsize(path) / 1e6
    for name, command in WORKLOADS.items():
        if not shutil.which(command[0]):
            continue
        command, rows = clocked(command), []
        for _ in range(options.rounds):
            for old in glob.glob(f"{folder}/heaptrack.*") + glob.glob(f"{folder}/recording"):
                os.remove(old)
            alone = own_seconds(run(command, folder))
            our_end, result = timed(exec_line(options, ["memtrial:*"], [f"simple={folder}/recording"], command), folder)
            ours = own_seconds(result)
            # It records the one process that it starts, and no other: so that is the program itself, with its start.
            their_end, result = timed(["heaptrack", "-o", f"{folder}/heaptrack", *command[4:]], folder)
            if result.returncode != 0:
                sys.exit(f"heaptrack: {result.stderr[-400:]}")
            rows.append((alone, ours, our_end, their_end, our_end / their_end, size(f"{folder}/recording"),
                         size(glob.glob(f"{folder}/heaptrack.*")[0])))
        alone, ours, our_end, their_end, share, our_size, their_size = (median(column) for column in zip(*rows))
        row(name, f"{alone:.2f} s", f"{ours:.2f} s", f"{our_end:.2f} s", f"{their_end:.2f} s", f"{share:.2f}",
            f"{our_size:.2f} MB", f"{their_size:.2f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memtrial", default=os.path.join(TARGET, "release", "memtrial"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hits", type=int, default=1_000_000)
    parts = {"hit": hit, "attach": attach, "events": events, "recording": recording}
    parser.add_argument("--only", choices=list(parts))
    options = parser.parse_args()
    options.memtrial = os.path.abspath(options.memtrial)
    if not os.path.exists(options.memtrial):
        sys.exit(f"{options.memtrial} is not there; build it first: cargo build --release")
    if os.geteuid() != 0:
        sys.exit("static probes take root: run this as root")
    folder = tempfile.mkdtemp(prefix="memtrial-bench-")
    try:
        for name, part in parts.items():
            if options.only in (None, name):
                part(options, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
