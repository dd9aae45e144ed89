#!/usr/bin/env python3
"""Measures what `memtrial leak` costs its target, side by side with heaptrack and others in one run.

    bench/leak.py [--memtrial PATH] [--agent PATH] [--follow PATH] [--rounds N] [--only follow|watch|attach|copy]

Prints Markdown tables. Everything is made in a temporary folder. Takes some fifteen minutes on two cores.
"""

import argparse
import json
import os
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from contest import ENVIRONMENT, HERE, Account, compile_c, row, run, table

TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "..", "target"))
SAMPLE = 512 << 10
PAIRS = 8_000_000
# Of the others' overhead, which is known for a pair, so many pairs tell enough: they take up to 100 times as long.
PAIRS_OF_PROBES = 200_000
ITEMS = 834_000
ATTACHES = 50
WATCHED_SECONDS = 120


def write_document(path):
    """A document of 60 MB, for which libxml2 holds 5 million blocks."""
    with open(path, "w") as file:
        file.write("<r>")
        for i in range(ITEMS):
            file.write('<item number="%d"><name>the text of number %d, which is not short</name></item>' % (i, i))
        file.write("</r>")


def median(values):
    return statistics.median(values)


class Contest:
    """One program: alone, followed, sampled, and under heaptrack, in turns."""

    def __init__(self, options, folder, account):
        self.folder, self.account = folder, account
        self.every = [options.follow, options.agent, "0"]
        self.sampled = [options.follow, options.agent, str(SAMPLE)]

    def seconds(self, command):
        seconds, result = self.account.seconds(command, self.folder)
        if result.returncode != 0:
            sys.exit(f"{command}: {result.stderr[-400:]}")
        return seconds, result

    def hold(self, command, rounds):
        rows = []
        for _ in range(rounds):
            native = self.seconds(command)[0]
            every, result = self.seconds([*self.every, *command])
            seen = json.loads(result.stderr.splitlines()[-1])
            sampled = self.seconds([*self.sampled, *command])[0]
            # Natively again: the machine may have become slower or faster meanwhile.
            native = (native + self.seconds(command)[0]) / 2
            heaptrack = self.seconds(["heaptrack", "-o", f"{self.folder}/heaptrack", *command])[0]
            raw = self.seconds(["heaptrack", "--raw", "-o", f"{self.folder}/heaptrack", *command])[0]
            rows.append((native, every / native, sampled / native, heaptrack / native, raw / native,
                         (every - native) / (heaptrack - native), (every - native) / (raw - native)))
        return [median(column) for column in zip(*rows)], seen


def follow(options, folder, account):
    print("\n## Following blocks beside heaptrack\n")
    print("Processor time over that of the program alone. *every*: each block with its stack. *sampled*: one block for "
          "512 KiB. *heaptrack*: with the interpreter that it pipes its records to; *--raw*: records only.\n")
    table("program", "threads", "alone", "every", "sampled", "heaptrack", "heaptrack --raw", "every, of heaptrack's overhead",
          "of --raw's", "followed, dropped, cut")
    contest = Contest(options, folder, account)
    programs = [("`pairs`", threads, ["./pairs", str(threads), str(PAIRS // threads)]) for threads in (1, 2, 4)]
    programs.append(("`xmllint --noout big.xml`", 1, ["xmllint", "--noout", "big.xml"]))
    for name, threads, command in programs:
        (native, every, sampled, heaptrack, raw, share, share_of_raw), seen = contest.hold(command, options.rounds)
        row(name, threads, f"{native:.2f} s", f"{every:.2f} ×", f"{sampled:.2f} ×", f"{heaptrack:.1f} ×", f"{raw:.1f} ×",
            f"{share:.2f}", f"{share_of_raw:.2f}", f"{seen['followed']:,}, {seen['dropped']}, {seen['cut']}")
    others(contest, options)


def others(contest, options):
    print("\nThe others, in one round on `pairs` with one thread, nanoseconds of processor time for a pair beyond the program's "
          "own:\n")
    table("tool", "nanoseconds a pair")

    def each(prefix, pairs):
        command = ["./pairs", "1", str(pairs)]
        empty = ["./pairs", "1", "1"]
        under = contest.seconds([*prefix, *command])[0] - contest.seconds([*prefix, *empty])[0]
        native = contest.seconds(command)[0] - contest.seconds(empty)[0]
        return f"{(under - native) / pairs * 1e9:,.0f}"

    row("memtrial, every block", each(contest.every, PAIRS))
    row("memtrial, sampled", each(contest.sampled, PAIRS))
    row("heaptrack", each(["heaptrack", "-o", f"{contest.folder}/heaptrack"], PAIRS // 4))
    row("Valgrind memcheck", each(["valgrind", "-q", "--leak-check=no"], PAIRS // 8))
    row("bcc's memleak", probes(contest, memleak))
    row("bpftrace, uprobes that keep sizes, no stacks", probes(contest, bpftrace))


def memleak(pid):
    return ["memleak-bpfcc", "-p", str(pid), "3600"]


def bpftrace(pid):
    libc = re.search(r"(/\S*/libc\.so\.6)$", open(f"/proc/{pid}/maps").read(), re.M).group(1)
    return ["bpftrace", "-p", str(pid), "-e",
            f"uprobe:{libc}:malloc {{ @size[tid] = arg0; }} "
            f"uretprobe:{libc}:malloc {{ @live[retval] = @size[tid]; }} uprobe:{libc}:free {{ delete(@live[arg0]); }}"]


def probes(contest, tool):
    """What a tool that probes a running process costs it; or why it does not run."""
    taken = []
    for attached in (False, True):
        # The shell waits for a line, so that the tool is there before the first pair.
        waits = subprocess.Popen(["sh", "-c", f'read line; exec ./pairs 1 {PAIRS_OF_PROBES}'], cwd=contest.folder,
                                 stdin=subprocess.PIPE, env=ENVIRONMENT)
        other = None
        if attached:
            command = tool(waits.pid)
            try:
                other = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT,
                                         start_new_session=True, text=True)
            except OSError as error:
                waits.kill()
                waits.wait()
                return f"not run: {error}"
            time.sleep(15)
            if other.poll() is not None:
                waits.kill()
                waits.wait()
                said = [line for line in other.stdout.read().splitlines() if line.strip()]
                reason = [line for line in said if "Unable" in line or "ERROR" in line] or said[-1:] or ["it ended"]
                return f"not run: {reason[0].split('. ')[0]}"
        waits.stdin.write(b"\n")
        waits.stdin.close()
        _, _, usage = os.wait4(waits.pid, 0)
        taken.append(usage.ru_utime + usage.ru_stime)
        if other:
            os.killpg(other.pid, signal.SIGINT)
            try:
                other.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(other.pid, signal.SIGKILL)
                other.communicate()
    return f"{(taken[1] - taken[0]) / PAIRS_OF_PROBES * 1e9:,.0f}, in the target alone"


class Held:
    """A target that holds memory, and says how long it stood still."""

    def __init__(self, folder, megabytes, threads):
        self.fifo = f"{folder}/fifo"
        if not os.path.exists(self.fifo):
            os.mkfifo(self.fifo)
        self.process = subprocess.Popen([f"{folder}/held", str(megabytes), str(threads), self.fifo],
                                        stdout=subprocess.PIPE, bufsize=0, env=ENVIRONMENT)
        self.process.stdout.readline()

    @property
    def pid(self):
        return self.process.pid

    def line(self):
        """What a line through the fifo makes it print: the longest gap, and that without waiting for a processor, in ms."""
        if not select.select([self.process.stdout], [], [], 30)[0]:
            sys.exit("the target does not say how long it stood still")
        return [int(word) / 1000 for word in self.process.stdout.readline().split()]

    def ask(self):
        with open(self.fifo, "w") as file:
            file.write("\n")
        return self.line()

    def close(self):
        self.process.kill()
        self.process.wait()


def watch(options, folder, account):
    print("\n## Watching from outside\n")
    print(f"Processor time of `memtrial leak --pid P --interval 1 --locate never`, of one core, over {WATCHED_SECONDS} s.\n")
    table("target", "of one core", "looks")
    for megabytes in (50, 4096):
        held = Held(folder, megabytes, 0)
        begun, before = time.monotonic(), account.used()
        watcher = subprocess.Popen([options.memtrial, "leak", "--pid", str(held.pid), "--interval", "1", "--locate", "never",
                                    "--rounds", "1000", "--max-time", str(WATCHED_SECONDS), "--json", "-q", "--output",
                                    f"{folder}/out"], stdout=subprocess.PIPE, text=True, cwd=folder, env=ENVIRONMENT)
        printed = watcher.stdout.read()
        _, _, usage = os.wait4(watcher.pid, 0)
        watcher.returncode = 0
        share = (usage.ru_utime + usage.ru_stime) / (time.monotonic() - begun)
        row(f"{megabytes:,} MB", f"{share * 100:.2f} %", json.loads(printed)["rounds"])
        held.close()


def located(options, folder, held, rounds=20):
    """Attaches for so many rounds; returns what was found, and the target's own figures: before, with the attach, in the
    other rounds together, and with the end."""
    held.ask()
    result = run([options.memtrial, "leak", "--pid", str(held.pid), "--rounds", "1", "--locate", "always", "--locate-rounds",
                  str(rounds), "--do", f"echo > {held.fifo}", "--json", "-q", "--output", f"{folder}/out"], folder)
    report = json.loads(result.stdout)
    before = held.line()
    with_attach = held.line()
    others = [held.line() for _ in range(rounds - 1)]
    with_end = held.ask()
    found = report["located"]
    return (found[0] if found else None), before, with_attach, [max(column) for column in zip(*others)], with_end, report


def attach(options, folder, account):
    print("\n## How long the target stands still for the agent to get in\n")
    print(f"Milliseconds, {ATTACHES} attaches. *stopped_ms*: as memtrial states it. *gap*: the longest time in which a thread of the "
          "target that reads the clock without a pause did not get to, between the round before the attach and the first "
          "followed round, less what the kernel says it waited for a processor. *gap before*: the same in a round without.\n")
    table("target", "attached", "stopped_ms, median", "over 5", "worst", "gap, median", "over 5", "worst",
          "gap before, median", "over 5", "worst")
    for name, threads in (("2 threads that allocate all the time", 2), ("sleeps in poll", 0)):
        held = Held(folder, 10, threads)
        stopped, gaps, befores = [], [], []
        for _ in range(ATTACHES):
            found, before, with_attach, _, _, report = located(options, folder, held)
            befores.append(before[1])
            if found and found["stopped_ms"] is not None:
                stopped.append(found["stopped_ms"])
                gaps.append(with_attach[1])
            else:
                print(report.get("not_located", report.get("warnings")), file=sys.stderr)
        held.close()
        figures = [(f"{median(values):.2f}", sum(value > 5 for value in values), f"{max(values):.1f}")
                   for values in (stopped, gaps, befores)]
        row(name, f"{len(stopped)} of {ATTACHES}", *(cell for group in figures for cell in group))


def copy(options, folder, account):
    print("\n## How long it stands still at the end\n")
    print("Milliseconds in which memory is copied for the search of unreachable blocks, median of 5 (of 3 for the "
          "biggest).\n")
    table("held", "as memtrial notes it", "gap seen by the target")
    for megabytes in (50, 500, 3800):
        held = Held(folder, megabytes, 0)
        noted, gaps = [], []
        for _ in range(5 if megabytes < 1000 else 3):
            found, _, _, _, with_end, _ = located(options, folder, held)
            said = re.search(r"stood still for ([\d.]+) ms", " ".join(found["notes"]))
            if not said:
                print(found["notes"], file=sys.stderr)
                continue
            noted.append(float(said.group(1)))
            gaps.append(with_end[1])
        held.close()
        row(f"{megabytes:,} MB", f"{median(noted):.1f}" if noted else "not copied", f"{median(gaps):.1f}" if gaps else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memtrial", default=os.path.join(TARGET, "release", "memtrial"))
    parser.add_argument("--agent", default=os.path.join(TARGET, "agent", "libmemtrial_agent.so"))
    parser.add_argument("--follow", default=os.path.join(TARGET, "release", "examples", "follow"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["follow", "watch", "attach", "copy"])
    options = parser.parse_args()
    for name in ("memtrial", "agent", "follow"):
        path = os.path.abspath(getattr(options, name))
        setattr(options, name, path)
        if not os.path.exists(path):
            sys.exit(f"{path} is not there; build it first: cargo build --release && "
                     "cargo build --profile agent --package memtrial-agent && "
                     "cargo build --release --package memtrial-target --example follow")
    folder = tempfile.mkdtemp(prefix="memtrial-bench-")
    account = Account()
    try:
        compile_c(folder, "pairs", "-pthread")
        compile_c(folder, "held", "-pthread")
        write_document(f"{folder}/big.xml")
        for name, part in (("follow", follow), ("watch", watch), ("attach", attach), ("copy", copy)):
            if options.only in (None, name):
                part(options, folder, account)
    finally:
        account.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
