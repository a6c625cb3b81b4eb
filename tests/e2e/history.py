"""What a run's workers and clients saw, and whether that may be.

A worker writes down with a Recorder, under the lock that its answers take too, when it begins and
ceases to be active, each update that it applies, and a `tick` now and then while it is active. A
client writes down each acknowledgement, a test the states that it finds at the end. A History of
all these is checked for what PROTOCOL.md promises whatever happens. Times are CLOCK_BOOTTIME, the
same in all namespaces of a machine. Tested by tests/unit/test_history.py.

Two are active at a time only if one has left a record of it after the other one began: a record
late for whatever reason proves nothing, so nothing here depends on how fast a machine is.
"""

import collections
import json
import os
import time

TICK_S = 0.05
ACTIVE, CEASES, WORKS = "active", ("frozen", "moved", "stop"), ("tick", "applied")


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Recorder:
    """The records of one worker process, a JSON line each; lines of several never mix."""

    def __init__(self, path, **who):
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self.who = {**who, "pid": os.getpid(), "process": os.urandom(8).hex()}
        self.last = 0.0

    def note(self, what, **fields):
        self.last = now()
        record = {"what": what, "time": self.last, **self.who, **fields}
        os.write(self.fd, json.dumps(record).encode() + b"\n")

    def tick(self, **fields):
        if now() > self.last + TICK_S:
            self.note("tick", **fields)


def read(path):
    """The records of a file; one that a death has cut short is the last of its process."""
    records = []
    try:
        with open(path, "rb") as f:
            for line in f:
                try:
                    records.append(json.loads(line))
                except ValueError:
                    pass
    except FileNotFoundError:
        pass
    return records


# ---- sets of numbers as text: 1-5,7,9-12; a number that was applied twice stands there twice

def put(ranges, number):
    """Adds a number to a list of [first, last], in the order in which they were applied."""
    if ranges and ranges[-1][1] + 1 == number:
        ranges[-1][1] = number
    else:
        ranges.append([number, number])


def text(ranges):
    return ",".join(f"{a}-{b}" if b > a else f"{a}" for a, b in ranges) or "-"


def ranges(text):
    found = []
    for part in text.split(",") if text != "-" else []:
        first, _, last = part.partition("-")
        found.append([int(first), int(last or first)])
    return found


def numbers(text):
    """How often each number is there."""
    return collections.Counter(n for a, b in ranges(text) for n in range(a, b + 1))


# ---- what a test allows

class Allowed:
    """An exception that the specification makes, with the reason.

    `divergence`: two may be active at a time, and epochs need not grow, while it lasts; `loss`:
    what was acknowledged while it lasted, by workers of these nodes (or any), may be missing.
    """

    def __init__(self, kind, reason, since=0.0, until=None, child=None, instance=None, nodes=None):
        assert kind in ("divergence", "loss") and reason
        self.kind, self.reason, self.since, self.until = kind, reason, since, until
        self.child, self.instance, self.nodes = child, instance, nodes

    def end(self):
        self.until = now()

    def covers(self, kind, key, at, node=None):
        return (self.kind == kind and self.since <= at <= (self.until or float("inf")) and
                self.child in (None, key[0]) and self.instance in (None, key[1]) and
                (self.nodes is None or node in self.nodes))


class Interval:
    """A time in which one process was active with one epoch; `until` is its last record of it."""

    def __init__(self, record):
        self.process, self.pid, self.node = record["process"], record["pid"], record["node"]
        self.epoch, self.since, self.until = record["epoch"], record["time"], record["time"]

    def __str__(self):
        return (f"pid {self.pid} on {self.node} at epoch {self.epoch} "
                f"({self.since:.3f} to {self.until:.3f})")


class History:
    """violations() of a list of records. `excused` counts what an exception has covered."""

    def __init__(self, records, allowed=()):
        self.allowed, self.excused, self.wrong = list(allowed), collections.Counter(), []
        self.acks, self.finals, self.applied = [], [], set()
        self.intervals = collections.defaultdict(list)
        workers = []
        for record in sorted(records, key=lambda r: r["time"]):
            kind = {"ack": self.acks, "final": self.finals}.get(record["what"], workers)
            kind.append(record)
        self.build(workers)

    @staticmethod
    def key(record):
        return (record["child"], record["instance"], record.get("replica", 0))

    def build(self, records):
        open_ones = {}
        for record in records:
            key, process, what = self.key(record), record["process"], record["what"]
            current = open_ones.get(process)
            if current:
                current.until = record["time"]
            if what == ACTIVE and (not current or current.epoch != record["epoch"]):
                open_ones[process] = Interval(record)
                self.intervals[key].append(open_ones[process])
            elif what in CEASES:
                open_ones.pop(process, None)
            elif what in WORKS and not current:
                self.wrong.append(f"{key}: pid {record['pid']} {what} while it was not active")
            if what == "applied":
                self.applied.add((key, record["client"], record["number"]))

    def excuse(self, kind, key, at, node=None):
        for allowed in self.allowed:
            if allowed.covers(kind, key, at, node):
                self.excused[kind] += 1
                return True
        return False

    def violations(self):
        found = list(self.wrong)
        for key, intervals in self.intervals.items():
            found += self.of_epochs(key, intervals)
            found += self.of_two(key, intervals)
        return [*found, *self.of_clients(), *self.of_updates()]

    def of_epochs(self, key, intervals):
        """One node an epoch, always; and who begins later has no lower one."""
        nodes, highest = {}, None
        for one in intervals:
            owner = nodes.setdefault(one.epoch, one)
            if owner.node != one.node:
                yield f"{key}: one epoch on two nodes: {owner}, {one}"
            if highest and one.epoch < highest.epoch and \
                    not self.excuse("divergence", key, one.since):
                yield f"{key}: epochs fall: {highest}, then {one}"
            if not highest or one.epoch > highest.epoch:
                highest = one

    def of_two(self, key, intervals):
        before = []
        for one in intervals:  # in order of their beginning
            before = [other for other in before if other.until > one.since]
            for other in before:
                if other.process == one.process:
                    continue
                if other.epoch == one.epoch:
                    yield f"{key}: two active with one epoch: {other}, {one}"
                elif not self.excuse("divergence", key, one.since):
                    yield f"{key}: two active at a time: {other}, {one}"
            before.append(one)

    def of_clients(self):
        """What a client was told comes from workers that applied it, in order of epochs."""
        highest = {}
        for ack in self.acks:
            key, client = self.key(ack), ack["client"]
            if (key, client, ack["number"]) not in self.applied:
                yield f"{key}: {client} got an answer to {ack['number']}, which nobody applied"
            if ack["epoch"] < highest.get(client, 0) and \
                    not self.excuse("divergence", key, ack["time"]):
                yield (f"{key}: {client} was answered at epoch {ack['epoch']} "
                       f"after {highest[client]}")
            highest[client] = max(highest.get(client, 0), ack["epoch"])

    def of_updates(self):
        """Each acknowledged update is in the newest state exactly once."""
        states = {self.key(final): final for final in self.finals}
        acks = collections.defaultdict(list)
        for ack in self.acks:
            acks[self.key(ack), ack["client"]].append(ack)
        for key, final in states.items():
            for client, there in final["state"].items():
                counts = numbers(there)
                twice = sorted(n for n, times in counts.items() if times > 1)
                if twice:
                    yield f"{key}: of {client} applied twice: {twice[:9]}"
                never = [n for n in counts if (key, client, n) not in self.applied]
                if never:
                    yield f"{key}: of {client} there, and applied by nobody: {never[:9]}"
        for (key, client), told in acks.items():
            if key not in states:
                yield f"{key}: {client} has {len(told)} acknowledgements, and no state was found"
                continue
            there = numbers(states[key]["state"].get(client, "-"))
            lost = [a for a in told if a["number"] not in there and a["time"] < states[key]["time"]
                    and not self.excuse("loss", key, a["time"], a["node"])]
            if lost:
                yield (f"{key}: of {client} lost: {[a['number'] for a in lost[:9]]} and so on, "
                       f"{len(lost)}, acknowledged by {sorted({a['node'] for a in lost})} between "
                       f"{lost[0]['time']:.3f} and {lost[-1]['time']:.3f}")
