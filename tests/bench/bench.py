"""prochubd beside a bare loop (bare.c) that starts the same children, in the same runs.

usage: bench.py --build FOLDER [--runs N] [--children N] [--samples N] [--idle SECONDS]

Figures of a machine mean little, and drift with what else it does: the ratio of two that were taken
one after the other is what counts. Each line has the median of all runs; targets are not enforced.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import tempfile
import time

NOTE = struct.Struct("QQ")


def now_ns():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def until(condition, what, timeout=60, pause=0.0005):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: not within {timeout} s: {what}")
        time.sleep(pause)


class Notes:
    """The file in which each child has noted its pid and the moment of its main()."""

    def __init__(self, path):
        self.path = path
        open(path, "wb").close()

    def count(self):
        return os.stat(self.path).st_size // NOTE.size

    def read(self, first=0):
        with open(self.path, "rb") as f:
            f.seek(first * NOTE.size)
            data = f.read()
        return list(NOTE.iter_unpack(data[:len(data) // NOTE.size * NOTE.size]))


class Supervisor:
    def __init__(self, folder, command, notes, children):
        self.notes, self.n = notes, children
        with open(folder + "/output", "ab") as out:
            began = now_ns()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=out, env={"PATH": os.environ["PATH"]})
        until(lambda: notes.count() >= children, "all children run", pause=0.002)
        noted = [ns for _, ns in notes.read()]
        self.start_s = (max(noted) - began) / 1e9
        self.first_s = (max(noted) - min(noted)) / 1e9
        self.pids = [pid for pid, _ in notes.read()]
        self.cpu_s = self.on_cpu_s()

    def on_cpu_s(self):
        total = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
        return total / 1e9

    def restart_ms(self, rng):
        """From kill -9 of one child to the main() of its successor."""
        pid = self.pids.pop(rng.randrange(len(self.pids) - self.n // 2))
        count = self.notes.count()
        killed = now_ns()
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.notes.count() > count, "one is restarted")
        new, ns = self.notes.read(count)[0]
        self.pids.append(new)
        return (ns - killed) / 1e6

    def memory_kib(self):
        """PSS and USS."""
        found = {}
        with open(f"/proc/{self.process.pid}/smaps_rollup") as f:
            for line in f:
                words = line.split()
                if len(words) == 3 and words[2] == "kB":
                    found[words[0]] = int(words[1])
        return found["Pss:"], found["Private_Clean:"] + found["Private_Dirty:"]

    def switches(self):
        total = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/status") as f:
                total += sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)
        return total

    def stop(self):
        began = now_ns()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return (now_ns() - began) / 1e9


def prochub(args, folder, children, notes):
    config = {"node": {"name": "bench", "run_dir": folder + "/run", "state_dir": folder + "/state"},
              "children": {}}
    if children:
        config["children"]["tiny"] = {"command": [args.tiny, notes.path], "instances": children}
    if args.log:
        config["defaults"] = {"log": {"to": args.log}}
    with open(folder + "/conf", "w") as f:
        json.dump(config, f)
    return Supervisor(folder, [args.build + "/prochubd", "-c", folder + "/conf"], notes, children)


def is_ready(folder):
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(folder + "/run/control.sock")
            s.sendall(b'{"op":"ping","req":1}\n')
            return s.recv(100)
        except OSError:
            return None


def measure(args, name, folder, rng):
    notes = Notes(folder + "/notes")
    if name == "bare":
        one = Supervisor(folder, [args.bare, str(args.children), args.tiny, notes.path], notes,
                         args.children)
    else:
        one = prochub(args, folder, args.children, notes)
    time.sleep(0.5)
    result = {"start": one.start_s, "first": one.first_s, "cpu": one.cpu_s}
    restarts = [one.restart_ms(rng) for _ in range(args.samples)]
    result["median"] = statistics.median(restarts)
    result["p99"] = sorted(restarts)[int(len(restarts) * 0.99)]
    time.sleep(1)
    result["pss"], result["uss"] = one.memory_kib()
    before = one.switches()
    time.sleep(args.idle)
    result["wakeups"] = one.switches() - before
    result["stop"] = one.stop()
    return result


def memory_of_none(args, folder):
    notes = Notes(folder + "/notes")
    config = {"node": {"name": "bench", "run_dir": folder + "/run", "state_dir": folder + "/state"}}
    with open(folder + "/conf", "w") as f:
        json.dump(config, f)
    one = Supervisor.__new__(Supervisor)
    one.notes = notes
    one.process = subprocess.Popen([args.build + "/prochubd", "-c", folder + "/conf"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
    until(lambda: is_ready(folder), "an empty daemon answers")
    time.sleep(0.5)
    found = one.memory_kib()
    one.stop()
    return found


def in_folder(function):
    """In memory, as /run is: what is measured is no file system of a disk."""
    folder = tempfile.mkdtemp(prefix="phbench", dir="/dev/shm")
    try:
        return function(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def table(args, runs, none):
    def median(name, what):
        return statistics.median(r[name][what] for r in runs)
    rows = [("start of all, from exec", "start", "s", "<= 1.3 x"),
            ("  from the first main() on", "first", "s", ""),
            ("  its own processor time", "cpu", "s", ""),
            ("restart, median", "median", "ms", "<= 2 x"),
            ("restart, p99", "p99", "ms", "<= 5 ms"),
            ("stop of all", "stop", "s", "<= 0.15 s"),
            ("wake-ups while idle", "wakeups", "", "0")]
    print(f"{args.children} children, {len(runs)} runs, {args.samples} restarts each, "
          f"{args.idle:g} s idle; load {os.getloadavg()[0]:.1f}")
    print(f"{'':32}{'bare':>10}{'prochubd':>10}{'ratio':>8}  target")
    for text, what, unit, target in rows:
        bare, ours = median("bare", what), median("prochubd", what)
        ratios = [r["prochubd"][what] / r["bare"][what] for r in runs if r["bare"][what]]
        ratio = f"{statistics.median(ratios):.2f}" if ratios else ""
        print(f"{text + (', ' + unit if unit else ''):32}{bare:10.3f}{ours:10.3f}{ratio:>8}  "
              f"{target}")
    for what, index in (("pss", 0), ("uss", 1)):
        ours = median("prochubd", what)
        each = (ours - none[index]) / args.children
        print(f"{what.upper() + ', KiB':32}{median('bare', what):10.0f}{ours:10.0f}{'':8}  "
              f"{none[index]} without children: {each:.2f} a child, target <= 4")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--bare", required=True)
    parser.add_argument("--tiny", required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--children", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--idle", type=float, default=10)
    parser.add_argument("--log", help="log.to of the children")
    args = parser.parse_args()
    args.build, args.bare, args.tiny = map(os.path.abspath, (args.build, args.bare, args.tiny))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rng, runs = random.Random(1), []
    none = in_folder(lambda folder: memory_of_none(args, folder))
    for i in range(args.runs):
        run = {}
        for name in ("bare", "prochubd") if i % 2 == 0 else ("prochubd", "bare"):
            run[name] = in_folder(lambda folder, name=name: measure(args, name, folder, rng))
        runs.append(run)
        print(f"run {i + 1}: " + "; ".join(
            f"{name} " + ", ".join(f"{k} {v:.3f}" for k, v in run[name].items())
            for name in ("bare", "prochubd")), flush=True)
    table(args, runs, none)


if __name__ == "__main__":
    main()
