#!/usr/bin/env python3
"""Measures memtrial against the usual method, the floor of a snapshot, and heaptrack, side by side in one run.

    bench/run.py [--memtrial PATH] [--jobs N] [--quick] [--only campaign|floor|census]

Prints Markdown tables. Everything is made in a temporary folder. --quick leaves out the programs with about
50,000 allocations, of which the usual method takes more than a quarter of an hour.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"}


def json_records(count):
    return json.dumps([{"id": i, "name": "n%d" % i, "tags": ["a", "b"]} for i in range(count)])


def write_inputs(folder):
    for name, text in {
        "j10k.json": json_records(230),
        "j50k.json": json_records(5200),
        "x10k.xml": "<r>" + "".join('<i n="%d"><b>t%d</b></i>' % (i, i) for i in range(2000)) + "</r>",
    }.items():
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)


PYTHON = ["/usr/bin/python3", "-I", "-S", "-c", "print(1)"]
CAMPAIGNS = [
    # Size, policy, command. jq stops by abort at almost every failure: the policy is the one for such programs.
    ("about 700", "graceful", PYTHON),
    ("about 10,000", "abort", ["jq", "-c", ".", "j10k.json"]),
    ("about 10,000", "graceful", ["xmllint", "--noout", "x10k.xml"]),
    ("about 50,000", "abort", ["jq", "-c", ".", "j50k.json"]),
]
FLOORS = [(400, PYTHON), (5000, ["jq", "-c", ".", "j10k.json"]), (5000, ["xmllint", "--noout", "x10k.xml"])]
GAWK_LOOP = "BEGIN{for(r=0;r<40;r++){for(i=0;i<20000;i++)a[i]=i \"x\"; delete a}; print 1}"
CENSUSES = [
    ("malloc-heavy", ["gawk", GAWK_LOOP]),
    ("malloc-heavy", ["jq", "-c", ".", "j50k.json"]),
    ("ordinary", ["/usr/bin/python3", "-I", "-S", "-c", "print(sum(i*i for i in range(3000000)))"]),
    ("ordinary", ["xmllint", "--noout", "x10k.xml"]),
]


def run(command, folder, **more):
    return subprocess.run(command, cwd=folder, env={**ENVIRONMENT, **more}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)


def timed(command, folder, **more):
    start = time.monotonic()
    result = run(command, folder, **more)
    return time.monotonic() - start, result


def build(folder):
    flags = ["gcc", "-O2"]
    for name in ("failnth", "floor"):
        subprocess.check_call(flags + ["-shared", "-fPIC", "-o", f"{folder}/{name}.so", f"{HERE}/{name}.c"])
    subprocess.check_call(flags + ["-o", f"{folder}/rerun_each", f"{HERE}/rerun_each.c"])


def campaigns(memtrial, folder, jobs, quick):
    print("\n## Whole campaign, every allocation\n")
    print("| allocations | program | memtrial | usual method | ratio | outcomes |")
    print("|---|---|---|---|---|---|")
    for size, policy, command in CAMPAIGNS:
        if quick and size == "about 50,000":
            continue
        rounds = 1 if size == "about 50,000" else 3
        ours, theirs = [], []
        for _ in range(rounds):
            seconds, result = timed([memtrial, "oom", "--every", "-q", "--json", "--jobs", str(jobs), "--policy",
                                     policy, "--", *command], folder)
            report = json.loads(result.stdout)
            ours.append(seconds)
            seconds, result = timed([f"{folder}/rerun_each", "-j", str(jobs), "-t", "5", f"{folder}/failnth.so",
                                     *command], folder)
            usual = json.loads(result.stdout)
            theirs.append(seconds)
        mine = {word: count for word, count in report["verdicts"]}
        other = usual["verdicts"]
        agreement = "the same" if mine == other else f"{mine} against {other}"
        ratio = statistics.median(b / a for a, b in zip(ours, theirs))
        print(f"| {report['reference']['allocations']:,} | `{' '.join(command)[:60]}` | {statistics.median(ours):.2f} s "
              f"| {statistics.median(theirs):.2f} s | {ratio:.1f} | {agreement} |", flush=True)


def floors(memtrial, folder):
    print("\n## One injection over the floor\n")
    print("Microseconds for one injection, one at a time. *floor*: a clone of that process at that allocation that "
          "ends at once, waited for. *its end*: the same, but the clone runs on to the end that the failure brings. "
          "*memtrial*: an injection in a campaign over 2,000 allocations there (400 for the small program), less "
          "the time of a campaign over one.\n")
    print("| program | floor | with its end | memtrial | memtrial − its end, over the floor |")
    print("|---|---|---|---|---|")
    for at, command in FLOORS:
        span = 2000 if at > 1000 else 400
        figures = []
        for _ in range(3):
            floor = preload(folder, at, command, {})
            end = statistics.mean(preload(folder, at + k, command, {"FLOOR_FAILS": "1", "FLOOR_RUNS": "1"})
                                  for k in range(0, span, span // 40))
            options = [memtrial, "oom", "-q", "--json", "--jobs", "1", "--policy", "abort", "--mode", "snapshot"]
            one, result = timed([*options, "--allocs", f"{at}-{at}", "--", *command], folder)
            many, result = timed([*options, "--allocs", f"{at}-{at + span}", "--", *command], folder)
            reruns = json.loads(result.stdout)["coverage"]["by_rerun"]
            injection = (many - one) / span * 1e6
            figures.append((floor, end, injection, (injection - end + floor) / floor, reruns))
        floor, end, injection, over, reruns = (statistics.median(column) for column in zip(*figures))
        note = f" ({reruns:.0f} of them confirmed by reruns)" if reruns else ""
        print(f"| `{' '.join(command)[:50]}` | {floor:.0f} | {end:.0f} | {injection:.0f}{note} | {over:.2f} × |", flush=True)


def preload(folder, at, command, more):
    """The median time of a clone, in microseconds, which the library prints on descriptor 9."""
    path = f"{folder}/floor.out"
    shell = f'exec 9>{path}; exec "$@"'
    run(["sh", "-c", shell, "sh", "env", f"LD_PRELOAD={folder}/floor.so", *command], folder, FLOOR_AT=str(at), **more)
    with open(path) as file:
        return float(file.read().split()[1])


def censuses(memtrial, folder):
    print("\n## Census beside heaptrack\n")
    print("Seconds of one run: native, under the agent recording every allocation with its stack, under heaptrack.\n")
    print("| kind | program | native | census | heaptrack | overhead, of heaptrack's |")
    print("|---|---|---|---|---|---|")
    for kind, command in CENSUSES:
        rows = []
        for _ in range(5):
            native = timed(command, folder)[0]
            listed = run([memtrial, "oom", "--list", "--json", "--", *command], folder)
            census = json.loads(listed.stdout)["reference"]["seconds"]
            heaptrack = timed(["heaptrack", "-o", f"{folder}/heaptrack", *command], folder)[0]
            rows.append((native, census, heaptrack, (census - native) / (heaptrack - native)))
        native, census, heaptrack, share = (statistics.median(column) for column in zip(*rows))
        print(f"| {kind} | `{' '.join(command)[:50]}` | {native:.3f} | {census:.3f} ({census / native:.2f} ×) "
              f"| {heaptrack:.3f} ({heaptrack / native:.2f} ×) | {share:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memtrial", default=os.path.join(HERE, "..", "target", "release", "memtrial"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=["campaign", "floor", "census"])
    options = parser.parse_args()
    memtrial = os.path.abspath(options.memtrial)
    if not os.path.exists(memtrial):
        sys.exit(f"{memtrial} is not there; build it first: cargo build --release")
    folder = tempfile.mkdtemp(prefix="memtrial-bench-")
    try:
        build(folder)
        write_inputs(folder)
        if options.only in (None, "campaign"):
            campaigns(memtrial, folder, options.jobs, options.quick)
        if options.only in (None, "floor"):
            floors(memtrial, folder)
        if options.only in (None, "census"):
            censuses(memtrial, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
