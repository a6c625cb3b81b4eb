"""Deliberate defects: does the suite see each of them, and which of its invariants does?

Each row of defects.py is built into a simulator (or a unit test) of its own: only the changed file
is compiled, put before the archives and linked. Then the runs that the row names must fail with the
words that the row expects. A row whose text is not in the file exactly once is an error, too: the
defect no longer applies and has to be written anew.

usage: mutants.py --build BUILD [--jobs N] [NAME...]
From `make mutants`: MUTANTS_CC compiles, MUTANTS_LINK_SIM and MUTANTS_LINK_UNIT are the ends of a
link line. Exit 0: all are caught; 1: some are not, or do not apply.
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import sys
import threading
import time

import defects

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = re.compile(r"^(?:seed (\d+) \([^)]*\)|seed +(\d+)): (.*)$")
LIST = "tests/sim/seeds.txt"
LIMIT_S = 240  # of one run


class Wrong(Exception):
    """The defect cannot be tried, or was not caught: a sentence."""


def mutate(defect):
    """{path: text} of the files that the defect changes."""
    texts = {}
    for edit in defect.edits:
        text = texts.get(edit.file) or (ROOT / edit.file).read_text()
        times = text.count(edit.old)
        if times != 1:
            first = edit.old.strip().splitlines()[0]
            raise Wrong(f"defect no longer applies: {edit.file} has {times} times: {first} ...")
        texts[edit.file] = text.replace(edit.old, edit.new)
    return texts


def command(words, cwd=ROOT):
    done = subprocess.run(words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode:
        raise Wrong(f"does not build: {done.stdout.strip().splitlines()[0]}")


def build(defect, place, args):
    """Compiles what the defect changes; returns the program that must fail."""
    objects = []
    for path, text in mutate(defect).items():
        source = place / path
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(text)
        objects.append(str(source.with_suffix(".o")))
        command([*args.cc, f"-I{(ROOT / path).parent}", "-c", "-o", objects[-1], str(source)])
    if defect.unit:
        program = place / defect.unit
        end = [f"{args.build}/tests/unit/{defect.unit}.o", *args.link_unit]
    else:
        program = place / "sim"
        changed = {f"{args.build}/{pathlib.Path(p).with_suffix('.o')}" for p in mutate(defect)}
        end = [word for word in args.link_sim if word not in changed]
    command([*args.link, "-o", str(program), *objects, *end])
    return program


def failures(words):
    """(seed or None, sentence) of each failure that a run prints, as it prints them."""
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace") as run:
        watch = threading.Timer(LIMIT_S, run.kill)
        watch.start()
        try:
            for line in run.stdout:
                seed = SEED.match(line)
                if seed:
                    yield seed[1] or seed[2], seed[3].strip()
                elif re.search(r":[EF]:", line):  # Check: file:line:F:case:test:n: sentence
                    yield None, line.strip()
        finally:
            watch.cancel()
            run.kill()


def seeds_until(where, seed):
    """How many seeds were tried, this one included."""
    listed = [line.split()[0] for line in (ROOT / LIST).read_text().splitlines()
              if line[:1].isdigit()]
    return listed.index(seed) + 1 if where == LIST else len(listed) + int(seed)


def caught(defect, where, seed, why):
    if defect.unit:
        case = re.search(r"[^/]*:[EF]:.*", why)
        return f"{defect.unit}: {case[0] if case else why}"
    if defect.seeds:
        return f"seed {seed}: {why}"
    n = seeds_until(where, seed)
    return f"seed {seed}, after {n} seed{'s' * (n > 1)}: {why}"


def try_one(defect, args):
    """The line to print about a defect that was caught."""
    place = ROOT / args.build / "mutants" / re.sub(r"\W+", "_", defect.name)
    place.mkdir(parents=True, exist_ok=True)
    program = build(defect, place, args)
    if defect.unit:
        runs = [([str(program)], defect.unit)]
    else:
        sim = [str(program), "--partition", defect.partition]
        one = [([*sim, "--seed", str(s)], None) for s in defect.seeds]
        runs = one or [([*sim, "--list", LIST], LIST),
                       ([*sim, "--seeds", f"1..{defect.upto}"], None)]
    other = collections.Counter()
    for words, where in runs:
        for seed, why in failures(words):
            if re.search(defect.expect, why):
                return caught(defect, where, seed, why)
            other[re.sub(r"\d+", "N", why)] += 1
    seen = "; ".join(f"{n} times: {why}" for why, n in other.most_common(4))
    raise Wrong(f"NOT CAUGHT by /{defect.expect}/" + (f", but {seen}" if seen else ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    args.cc = shlex.split(os.environ["MUTANTS_CC"])
    args.link = shlex.split(os.environ["MUTANTS_LINK"])
    args.link_sim = shlex.split(os.environ["MUTANTS_LINK_SIM"])
    args.link_unit = shlex.split(os.environ["MUTANTS_LINK_UNIT"])
    wanted = [d for d in defects.DEFECTS if not args.names or d.name in args.names]
    missing = set(args.names) - {d.name for d in wanted}
    if missing:
        sys.exit(f"mutants: no such defect: {', '.join(sorted(missing))}")
    began, bad = time.monotonic(), 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        tasks = [(d, pool.submit(try_one, d, args)) for d in wanted]
        for defect, task in tasks:
            try:
                print(f"{defect.name}: caught by {task.result()}", flush=True)
            except Wrong as wrong:
                bad += 1
                print(f"{defect.name}: {wrong}", flush=True)
    print(f"mutants: {len(wanted) - bad} of {len(wanted)} defects caught, "
          f"{time.monotonic() - began:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
