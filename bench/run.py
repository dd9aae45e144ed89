#!/usr/bin/env python3
"""Measures memtrial against the usual method, the floor of a snapshot, and heaptrack, side by side in one run.

    bench/run.py [--memtrial PATH] [--jobs N] [--rounds N] [--only trial|floor|census]

Prints Markdown tables. Everything is made in a temporary folder. Takes about half an hour on two cores.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile

from contest import HERE, compile_c, run, timed

def json_records(count):
    return json.dumps([{"id": i, "name": "n%d" % i, "tags": ["a", "b"]} for i in range(count)])


def log(identifiers, lines):
    """A log in which a new identifier turns up every so many lines."""
    step = lines // identifiers
    return "".join("10:00:%02d GET id%06d %d\n" % (i % 60, i // step if i % step == 0 else (i * 7919) % (i // step + 1),
                                                   i * 31 % 997) for i in range(lines))


def write_inputs(folder):
    for name, text in {
        "j10k.json": json_records(230),
        "j50k.json": json_records(5200),
        "x10k.xml": "<r>" + "".join('<i n="%d"><b>t%d</b></i>' % (i, i) for i in range(2000)) + "</r>",
        "sections.xml": "<r>" + "".join('<s n="%d">%s</s>' % (i, "some text " * 5000) for i in range(130)) + "</r>",
        "middle.log": log(4600, 230000),
        "large.log": log(24000, 240000),
        "longer.log": log(24000, 600000),
    }.items():
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)


PYTHON = ["/usr/bin/python3", "-I", "-S", "-c", "print(1)"]
AWK = "{n[$3]++; s+=$4} END {print length(n), s}"
SQL = ("create table t(a,b); insert into t values(1,2),(3,4); select * from t order by b desc; "
       "create index i on t(b); select sum(a) from t where b>1;")
# Policy, command, and of how many allocations the usual method tries one: where it would take an hour, its time
# is that of those runs, times this.
TRIALS = [
    ("graceful", ["xmllint", "--noout", "sections.xml"], 1),
    ("graceful", ["sqlite3", ":memory:", SQL], 1),
    ("graceful", PYTHON, 1),
    ("graceful", ["gawk", AWK, "middle.log"], 17),
    # jq stops by abort at almost every failure: this is the policy for such programs.
    ("abort", ["jq", "-c", ".", "j10k.json"], 1),
    ("graceful", ["xmllint", "--noout", "x10k.xml"], 1),
    ("graceful", ["gawk", AWK, "large.log"], 53),
    ("graceful", ["gawk", AWK, "longer.log"], 53),
    ("abort", ["jq", "-c", ".", "j50k.json"], 53),
]
FLOORS = [(400, ["xmllint", "--noout", "sections.xml"]), (5000, ["gawk", AWK, "middle.log"]), (40000, ["gawk", AWK, "large.log"]),
          (5000, ["jq", "-c", ".", "j10k.json"]), (5000, ["xmllint", "--noout", "x10k.xml"])]
GAWK_LOOP = "BEGIN{for(r=0;r<40;r++){for(i=0;i<20000;i++)a[i]=i \"x\"; delete a}; print 1}"
CENSUSES = [
    ("malloc-heavy", ["gawk", GAWK_LOOP]),
    ("malloc-heavy", ["jq", "-c", ".", "j50k.json"]),
    ("ordinary", ["/usr/bin/python3", "-I", "-S", "-c", "print(sum(i*i for i in range(3000000)))"]),
    ("ordinary", ["xmllint", "--noout", "x10k.xml"]),
]


def build(folder):
    for name in ("failnth.so", "floor.so"):
        compile_c(folder, name, "-shared", "-fPIC")
    compile_c(folder, "rerun_each")


def trials(memtrial, folder, jobs, rounds):
    print("\n## Whole trial, every allocation\n")
    print("| allocations | program | memtrial | usual method | ratio | outcomes, allocation by allocation |")
    print("|---|---|---|---|---|---|")
    for policy, command, stride in TRIALS:
        ours, theirs = [], []
        for _ in range(rounds if stride == 1 else 1):
            seconds, result = timed([memtrial, "oom", "--every", "-q", "--json", "--jobs", str(jobs), "--policy",
                                     policy, "--", *command], folder)
            report = json.loads(result.stdout)
            ours.append(seconds)
            result = run([f"{folder}/rerun_each", "-j", str(jobs), "-t", "5", "-e", str(stride), "-v",
                          f"{folder}/failnth.so", *command], folder)
            usual = json.loads(result.stdout)
            theirs.append(usual["seconds"] * usual["allocations"] / usual["runs"])
        same, compared = agreement(f"{folder}/memtrial.out/outcomes.jsonl", result.stderr)
        ratio = statistics.median(b / a for a, b in zip(ours, theirs))
        sampled = f" (from every {stride}th)" if stride > 1 else ""
        print(f"| {report['reference']['allocations']:,} | `{' '.join(command)[:60]}` | {statistics.median(ours):.2f} s "
              f"| {statistics.median(theirs):.1f} s{sampled} | {ratio:.1f} | {same:,} of {compared:,} the same |",
              flush=True)


def agreement(outcomes, lines):
    """How many of the usual method's runs have the verdict that memtrial gave the allocation of that number."""
    verdicts = {}
    with open(outcomes) as file:
        for line in file:
            outcome = json.loads(line)
            verdicts[outcome["ordinal"]] = outcome["verdict"]
    usual = [line.split()[:2] for line in lines.splitlines() if line[:1].isdigit()]
    same = sum(verdicts.get(int(number)) == word.split("_")[0] for number, word in usual)
    return same, len(usual)


def floors(memtrial, folder):
    print("\n## One injection over the floor\n")
    print("Microseconds of wall time for one injection, one at a time. *floor*: a clone of that process at that "
          "allocation, which ends at once, waited for. *with its end*: the same, but the clone gets NULL and runs on "
          "to the end that the program then comes to: what no tool can save. *memtrial*: a trial over the "
          "allocations around that one, less one over a single allocation, by their number.\n")
    print("| program | allocation | floor | with its end | memtrial | memtrial less its end, plus the floor |")
    print("|---|---|---|---|---|---|")
    for at, command in FLOORS:
        span = 1000 if at > 1000 else 200
        points = range(at - span // 2, at + span // 2, span // 20)
        figures = []
        for _ in range(3):
            floor = preload(folder, at, command, {})
            end = statistics.mean(preload(folder, point, command, {"FLOOR_FAILS": "1", "FLOOR_RUNS": "50"})
                                  for point in points)
            options = [memtrial, "oom", "-q", "--json", "--jobs", "1", "--policy", "abort", "--mode", "snapshot"]
            one, result = timed([*options, "--allocs", f"{points[0]}-{points[0]}", "--", *command], folder)
            many, result = timed([*options, "--allocs", f"{points[0]}-{points[0] + span}", "--", *command], folder)
            reruns = json.loads(result.stdout)["coverage"]["by_rerun"]
            injection = (many - one) / span * 1e6
            figures.append((floor, end, injection, (injection - end + floor) / floor, reruns))
        floor, end, injection, over, reruns = (statistics.median(column) for column in zip(*figures))
        note = f" ({reruns:.0f} of {span} made again to confirm)" if reruns else ""
        print(f"| `{' '.join(command)[:50]}` | {at:,} | {floor:.0f} | {end:.0f} | {injection:.0f}{note} "
              f"| {over:.2f} × floor |", flush=True)


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
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["trial", "floor", "census"])
    options = parser.parse_args()
    memtrial = os.path.abspath(options.memtrial)
    if not os.path.exists(memtrial):
        sys.exit(f"{memtrial} is not there; build it first: cargo build --release")
    folder = tempfile.mkdtemp(prefix="memtrial-bench-")
    try:
        build(folder)
        write_inputs(folder)
        if options.only in (None, "trial"):
            trials(memtrial, folder, options.jobs, options.rounds)
        if options.only in (None, "floor"):
            floors(memtrial, folder)
        if options.only in (None, "census"):
            censuses(memtrial, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
