#!/usr/bin/env python3
"""Measures `memtrial stress` and `memtrial rpc`, side by side with plain C and stress-ng in one run.

    bench/stress.py [--memtrial PATH] [--rounds N] [--only idle|busy|alloc|rate|million|attach]

Prints Markdown tables. Everything is made in a temporary folder. Takes some fifteen minutes on two cores.
"""

import argparse
import glob
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from contest import ENVIRONMENT, HERE, compile_c, row, run, table
from leak import Held

TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "..", "target"))
IDLE_SECONDS = 30
BUSY_SECONDS = 5
GIB = 1 << 30
RATE_SECONDS = 5
# The most that stress-ng takes.
SLOTS = 262_144
TIMES = 1000
ATTACHES = 50


def median(values):
    return statistics.median(values)


class Rpc:
    """The control socket of a process, over one connection."""

    def __init__(self, memtrial, pid, folder):
        self.memtrial, self.pid, self.folder = memtrial, pid, folder
        self.runtime = {"XDG_RUNTIME_DIR": folder}
        # The first call brings the agent in.
        self.by_command("memtrial.status")
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(f"{folder}/memtrial/{pid}.sock")
        self.answers = self.connection.makefile("r")
        self.last = 0

    def by_command(self, *words):
        result = run([self.memtrial, "rpc", "--pid", str(self.pid), "--json", *words], self.folder, **self.runtime)
        if result.returncode != 0:
            sys.exit(f"memtrial rpc {' '.join(words)}: {result.stderr}")
        return json.loads(result.stdout)

    def call(self, method, *parameters):
        """The result of a method, and the milliseconds until it came."""
        self.last += 1
        request = {"jsonrpc": "2.0", "id": self.last, "method": method, "params": parameters}
        request = json.dumps(request).encode() + b"\n"
        begun = time.perf_counter()
        self.connection.sendall(request)
        line = self.answers.readline()
        taken = (time.perf_counter() - begun) * 1000
        answer = json.loads(line) if line else {}
        if answer.get("id") != self.last or "result" not in answer:
            sys.exit(f"{method} {parameters}: {line or 'the target does not answer any more'}")
        return answer["result"], taken

    def named(self, method, **parameters):
        """The same with parameters by name; the result alone."""
        self.last += 1
        self.connection.sendall(json.dumps({"jsonrpc": "2.0", "id": self.last, "method": method,
                                            "params": parameters}).encode() + b"\n")
        answer = json.loads(self.answers.readline())
        if "result" not in answer:
            sys.exit(f"{method} {parameters}: {answer}")
        return answer["result"]

    def leave(self):
        self.answers.close()
        self.connection.close()
        self.by_command("memtrial.leave")


class Busy:
    """The target that counts what it gets done."""

    def __init__(self, folder, threads):
        self.process = subprocess.Popen([f"{folder}/busy", str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1, env=ENVIRONMENT)
        self.ask()

    @property
    def pid(self):
        return self.process.pid

    def ask(self):
        """Pairs made so far, and the nanoseconds of processor time of the threads that make them."""
        self.process.stdin.write("\n")
        line = self.process.stdout.readline()
        if not line:
            sys.exit("the target has ended")
        return [int(word) for word in line.split()]

    def close(self):
        self.process.kill()
        self.process.wait()


def used(pid):
    """Nanoseconds of processor time of all threads that live, how often they gave the processor up to wait, and threads."""
    nanoseconds = waits = threads = 0
    for task in glob.glob(f"/proc/{pid}/task/*"):
        with open(f"{task}/schedstat") as file:
            nanoseconds += int(file.read().split()[0])
        with open(f"{task}/status") as file:
            waits += sum(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
        threads += 1
    return nanoseconds, waits, threads


def idle(options, folder):
    print("\n## The control thread in an idle target\n")
    print(f"A process that waits for a line, over {IDLE_SECONDS} s each, median of {options.rounds}: processor time of all its "
          "threads, and how often one of them woke up.\n")
    table("target", "threads", "processor time", "wake-ups")
    rows = {"alone": [], "with the agent": []}
    for _ in range(options.rounds):
        target = Busy(folder, 0)
        rpc = None
        for way, values in rows.items():
            if way != "alone":
                rpc = Rpc(options.memtrial, target.pid, folder)
                # Attaching is over when the answer has come; what the threads do after it is none of the cost.
                time.sleep(1)
            nanoseconds, waits, _ = used(target.pid)
            time.sleep(IDLE_SECONDS)
            after = used(target.pid)
            values.append((after[0] - nanoseconds, after[1] - waits, after[2]))
        rpc.leave()
        target.close()
    for way, values in rows.items():
        nanoseconds, waits, threads = (median(column) for column in zip(*values))
        row(way, f"{threads:.0f}", f"{nanoseconds / 1e3:,.0f} µs", f"{waits:.0f}")


def pace(target):
    """Pairs a second of processor time, and of the clock, over a while."""
    pairs, nanoseconds = target.ask()
    begun = time.monotonic()
    time.sleep(BUSY_SECONDS)
    after = target.ask()
    seconds = time.monotonic() - begun
    return (after[0] - pairs) / (after[1] - nanoseconds) * 1e9, (after[0] - pairs) / seconds


def busy(options, folder):
    rounds = options.rounds * 3
    print("\n## The control thread in a busy target\n")
    print(f"Threads that make pairs of malloc and free without a pause, {BUSY_SECONDS} s each way in turns, medians of {rounds}. "
          "*with* is what is done with the agent idle in the process, of what is done before it came and after it left; "
          "the range is that of the rounds. *after* is what is done after it left, of what is done before: its distance "
          "from 1 is what the machine adds.\n")
    table("threads", "alone, million pairs a second of processor time", "with, by processor time", "range",
          "with, by the clock", "after, by processor time")
    for threads in (1, 2):
        target = Busy(folder, threads)
        alone, by_processor, by_clock, after = [], [], [], []
        pace(target)
        for _ in range(rounds):
            before = pace(target)
            rpc = Rpc(options.memtrial, target.pid, folder)
            inside = pace(target)
            rpc.leave()
            again = pace(target)
            alone.append(before[0])
            by_processor.append(inside[0] / ((before[0] + again[0]) / 2))
            by_clock.append(inside[1] / ((before[1] + again[1]) / 2))
            after.append(again[0] / before[0])
        target.close()
        row(threads, f"{median(alone) / 1e6:.1f}", f"{median(by_processor):.3f}",
            f"{min(by_processor):.3f} to {max(by_processor):.3f}", f"{median(by_clock):.3f}", f"{median(after):.3f}")


def plain(folder, sizes, *more):
    result = run([f"{folder}/plain_alloc", *(str(size) for size in sizes), *more], folder)
    if result.returncode != 0:
        sys.exit(f"plain_alloc: status {result.returncode}")
    return [int(word) for word in result.stdout.split()]


def alloc(options, folder):
    rounds = options.rounds * 2 + 1
    print("\n## `mt.mem_rnd_alloc` beside a plain loop\n")
    print(f"A gibibyte, seconds by the clock until the answer, each in a new process, in turns, medians of {rounds}. The plain loop "
          "keeps of each chunk its pointer, size and links in the list of its size, 24 bytes in mapped memory "
          "(`plain_alloc.c`), and runs in the main thread; *in a thread*: in a second one, which malloc gives an arena "
          "of its own. *of plain* is the speed beside the main thread's: at least 0.33 is "
          "wanted.\n")
    table("sizes", "chunks", "`mt.mem_rnd_alloc`", "plain loop", "in a thread", "of plain", "range", "of plain in a thread",
          "`mt.mem_free`", "plain")
    for least, most in ((64, 64), (16, 1024), (16, 65536)):
        sizes = (least, most, GIB)
        rows = []
        for _ in range(rounds):
            alone = plain(folder, sizes)
            target = Busy(folder, 0)
            rpc = Rpc(options.memtrial, target.pid, folder)
            answer, loaded = rpc.call("mt.mem_rnd_alloc", *sizes, "b")
            _, freed = rpc.call("mt.mem_free")
            rpc.leave()
            target.close()
            thread = plain(folder, sizes, "thread")
            rows.append((answer["allocations"], loaded / 1e3, alone[0] / 1e9, thread[0] / 1e9, alone[0] / 1e6 / loaded,
                         thread[0] / 1e6 / loaded, freed / 1e3, alone[3] / 1e9))
        columns = list(zip(*rows))
        chunks, loaded, alone, thread, share, share_of_thread, freed, plain_freed = (median(column) for column in columns)
        row(f"{least}" if least == most else f"{least:,} to {most:,}", f"{chunks:,.0f}", f"{loaded:.2f} s", f"{alone:.2f} s",
            f"{thread:.2f} s", f"{share:.2f}", f"{min(columns[4]):.2f} to {max(columns[4]):.2f}", f"{share_of_thread:.2f}",
            f"{freed:.2f} s", f"{plain_freed:.2f} s")


def stressed(options, folder, most):
    """memtrial's own load: allocations, resizings and frees a second."""
    total = SLOTS * most // 2
    result = run([options.memtrial, "stress", "--allocator", "glibc", "--min", "1", "--max", str(most), "--total", str(total),
                  "--realloc", "50", "--for", f"{RATE_SECONDS}s", "--max-total", str(total * 4 + GIB), "--json", "-q", "--output",
                  f"{folder}/out"], folder)
    try:
        loaded = json.loads(result.stdout)["loaded"][0]
    except (ValueError, KeyError, IndexError):
        sys.exit(f"memtrial stress: {result.stderr}{result.stdout[-400:]}")
    # Each chunk that was allocated is freed when the total is reached.
    frees = loaded["allocations"] - loaded["reallocs"] - loaded["errors"]
    return loaded["allocations"] / loaded["seconds"], (loaded["allocations"] + frees) / loaded["seconds"]


def ng(folder, most, *more):
    """stress-ng's: operations a second of its own counting."""
    metrics = f"{folder}/metrics.yaml"
    result = run(["stress-ng", "--malloc", "1", "--malloc-bytes", str(most), "--malloc-max", str(SLOTS), *more, "--timeout",
                  f"{RATE_SECONDS}s", "--metrics", "--yaml", metrics, "--temp-path", folder], folder)
    if result.returncode != 0:
        sys.exit(f"stress-ng: {result.stderr}{result.stdout}")
    with open(metrics) as file:
        figures = dict(line.strip().split(": ", 1) for line in file if ": " in line)
    return float(figures["bogo-ops-per-second-real-time"])


def rate(options, folder):
    print("\n## Operations a second beside `stress-ng --malloc`\n")
    print(f"One thread, glibc, sizes from 1 byte alike, {RATE_SECONDS} s each, in turns, medians of {options.rounds}; millions a second. "
          f"stress-ng has {SLOTS:,} places and picks one of them by chance: a full one it frees or resizes, an empty one it "
          "fills or leaves, so that of its operations a third each allocates, resizes and frees, and half of the places are "
          "full. memtrial has `--realloc 50` and a total with which it holds as much in the mean, but frees all at once when "
          "that is reached. *all* counts allocations, resizings and frees of both. Both write to each page of a chunk with "
          "`--malloc-touch`; without it stress-ng asks the kernel instead which pages are there.\n")
    table("largest", "`memtrial stress`, allocations and resizings", "all", "`stress-ng --malloc-touch`, all", "`stress-ng`, all",
          "memtrial of stress-ng with `--malloc-touch`", "range")
    for most in (1024, 4096, 65536):
        rows = []
        for _ in range(options.rounds):
            allocations, every = stressed(options, folder, most)
            touching = ng(folder, most, "--malloc-touch")
            asking = ng(folder, most)
            rows.append((allocations / 1e6, every / 1e6, touching / 1e6, asking / 1e6, every / touching))
        columns = list(zip(*rows))
        figures = [f"{median(column):.2f}" for column in columns]
        row(f"{most:,}", *figures, f"{min(columns[4]):.2f} to {max(columns[4]):.2f}")


def each(call):
    """Milliseconds of a call that is made many times: median, and the longest."""
    taken = [call() for _ in range(TIMES)]
    return f"{median(taken):.3f}, {max(taken):.2f}"


def million(options, folder):
    print("\n## With a million chunks held\n")
    print("Milliseconds until the answer over one connection, on an idle target: of commands made a thousand times the median and "
          "the longest. Sizes are 16 to 1,024. What does not search has the same figures in all rows.\n")
    table("chunks", "`mt.mem_used`", "`mt.mem_test_list`", "`memtrial.status`", "`mt.mem_alloc 64`", "`mt.mem_realloc 64`",
          "`mt.mem_free 64`", "`mt.mem_free`, everything", "a chunk")
    for wanted in (1_000, 30_000, 1_000_000):
        target = Busy(folder, 0)
        rpc = Rpc(options.memtrial, target.pid, folder)
        rpc.call("mt.mem_rnd_alloc", 16, 1024, wanted * 520, "b")
        cells = [each(lambda: rpc.call(method, *more)[1])
                 for method, *more in (("mt.mem_used",), ("mt.mem_test_list",), ("memtrial.status",), ("mt.mem_alloc", 64),
                                       ("mt.mem_realloc", 64), ("mt.mem_free", 64))]
        held = rpc.call("mt.mem_used")[0]["chunks"]
        answer, taken = rpc.call("mt.mem_free")
        if answer["chunks"] != held:
            sys.exit(f"{answer['chunks']} chunks were freed, not {held}")
        row(f"{held:,}", *cells, f"{taken:.1f}", f"{taken / held * 1e6:.0f} ns")
        rpc.leave()
        target.close()
    print("\nThe same for chunks of a test, which is stopped when it has so many.\n")
    table("chunks", "`mt.mem_used`", "`mt.mem_test_list`", "`mt.mem_check`, filled", "`mt.mem_test_destroy`", "a chunk")
    for wanted in (1_000, 1_000_000):
        target = Busy(folder, 0)
        rpc = Rpc(options.memtrial, target.pid, folder)
        rpc.call("cfg.set_now_int", "malloc_test", "check_content", 1)
        plan = {"min": 16, "max": 1024, "total": 4 * GIB, "min_int": 0.001, "max_int": 0.001, "time": "10m", "unit": "b"}
        if wanted > 100_000:
            del plan["min_int"], plan["max_int"]
            plan["unpaced"] = True
        test = rpc.named("mt.mem_test_start", **plan)["id"]
        while rpc.call("mt.mem_test_list", test)[0]["tests"][0]["chunks"] < wanted:
            pass
        rpc.call("mt.mem_test_stop", test)
        held = rpc.call("mt.mem_test_list", test)[0]["tests"][0]["chunks"]
        cells = [each(lambda: rpc.call(method, *more)[1]) for method, *more in (("mt.mem_used",), ("mt.mem_test_list", test))]
        answer, checked = rpc.call("mt.mem_check")
        if answer["overwritten_count"]:
            sys.exit(f"mt.mem_check: {answer}")
        _, taken = rpc.call("mt.mem_test_destroy", test)
        row(f"{held:,}", *cells, f"{checked:.1f}", f"{taken:.1f}", f"{taken / held * 1e6:.0f} ns")
        rpc.leave()
        target.close()


def attach(options, folder):
    print("\n## Coming and going under load\n")
    print(f"{ATTACHES} times each into a target with two threads that allocate all the time. *whole*: the agent came in, answered and "
          "left, and the target works on. *stopped_ms*: as memtrial states it. *gap*: the longest time in which a thread of "
          "the target that reads the clock without a pause did not get to, less what the kernel says it waited for a "
          "processor; *without*: in a time as long without an agent. Milliseconds.\n")
    table("way", "whole", "stopped_ms, median", "worst", "gap, median", "worst", "without, median", "worst")
    for name, way in (("`memtrial rpc --pid`, status and leave", by_rpc), ("`memtrial stress --pid --for 1s --threads 2`", by_stress)):
        held = Held(folder, 10, 2)
        whole, stopped, gaps, without = 0, [], [], []
        for _ in range(ATTACHES):
            held.ask()
            begun = time.monotonic()
            succeeded, stood = way(options, folder, held.pid)
            lasted = time.monotonic() - begun
            gaps.append(held.ask()[1])
            time.sleep(lasted)
            without.append(held.ask()[1])
            whole += succeeded and held.process.poll() is None
            if stood is not None:
                stopped.append(stood)
        held.close()
        figures = [(f"{median(values):.2f}", f"{max(values):.1f}") if values else ("not stated", "")
                   for values in (stopped, gaps, without)]
        row(name, f"{whole} of {ATTACHES}", *(cell for group in figures for cell in group))


def by_rpc(options, folder, pid):
    for method in ("memtrial.status", "memtrial.leave"):
        result = run([options.memtrial, "rpc", "--pid", str(pid), "--json", method], folder, XDG_RUNTIME_DIR=folder)
        if result.returncode != 0:
            print(f"{method}: {result.stderr}", file=sys.stderr)
            return False, None
    # Nobody may be left to answer.
    return not os.path.exists(f"{folder}/memtrial/{pid}.sock"), None


def by_stress(options, folder, pid):
    result = run([options.memtrial, "stress", "--pid", str(pid), "--for", "1s", "--threads", "2", "--json", "-q", "--output",
                  f"{folder}/out"], folder, XDG_RUNTIME_DIR=folder)
    if result.returncode != 0:
        print(result.stderr, result.stdout[-400:], file=sys.stderr)
        return False, None
    loaded = json.loads(result.stdout)["loaded"][0]
    return loaded["allocations"] > 0 and loaded["end"] is None, loaded["stopped_ms"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memtrial", default=os.path.join(TARGET, "release", "memtrial"))
    parser.add_argument("--rounds", type=int, default=3)
    parts = {"idle": idle, "busy": busy, "alloc": alloc, "rate": rate, "million": million, "attach": attach}
    parser.add_argument("--only", choices=list(parts))
    options = parser.parse_args()
    options.memtrial = os.path.abspath(options.memtrial)
    if not os.path.exists(options.memtrial):
        sys.exit(f"{options.memtrial} is not there; build it first: cargo build --release")
    if options.only in (None, "rate") and not shutil.which("stress-ng"):
        sys.exit("stress-ng is not there: apt-get install stress-ng")
    folder = tempfile.mkdtemp(prefix="memtrial-bench-")
    try:
        for name in ("busy", "plain_alloc", "held"):
            compile_c(folder, name, "-pthread")
        for name, part in parts.items():
            if options.only in (None, name):
                part(options, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
