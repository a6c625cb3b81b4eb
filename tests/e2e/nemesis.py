#!/usr/bin/python3
"""Random faults while children move at random, for as long as one likes; the history is checked.

    nemesis.py [--seconds 120] [--seed N] [--nodes 3] [--strategy majority] [--faults cut,daemon]

Not part of `make check`: what it finds becomes a test there. Each turn orders moves, does one thing
to the net or to a process in the middle of them, mends it, waits until all is calm, and checks all
that has happened so far. What may be lost then is what the specification says (see test_net_*).
The times are those of a real machine, so a seed repeats the faults, not the outcome.
"""

import argparse
import random
import signal
import sys
import time

sys.dont_write_bytecode = True

import harness  # noqa: E402
import netcluster  # noqa: E402

ROOMS = 8
# a node that lives may be held dead, or one dies
ALONE = ("isolate", "split", "hang", "node")
FAULTS = ("cut", "one_way", "reject", "lose", "delay", "bus", "daemon", *ALONE)


class Nemesis:
    def __init__(self, args):
        self.args, self.random = args, random.Random(args.seed)
        self.net = netcluster.NetCluster(args.nodes)
        self.names = [chr(ord("a") + i) for i in range(args.nodes)]

    def start(self):
        rooms = netcluster.room(self.net, "room", "--ballast", "200000", instances=ROOMS)
        self.net.start(*self.names, children={"room": rooms}, cluster={
            "migrations_max": 16, "partition": {"strategy": self.args.strategy}})
        for instance in range(ROOMS):
            self.net.client("room", instance)
        self.net.recover()

    def do(self, fault, a, b):
        """On the hosts a and b; hosts count from 1, and node a is on host 1."""
        bed, node = self.net.bed, self.net.nodes[self.names[a - 1]]
        odd = [host for host in range(1, self.args.nodes + 1) if host % 2]
        even = [host for host in range(1, self.args.nodes + 1) if not host % 2]
        {"cut": lambda: bed.cut(a, b), "one_way": lambda: bed.cut_one_way(a, b),
         "reject": lambda: bed.reject(a, b), "lose": lambda: bed.lose(a, 20),
         "delay": lambda: bed.delay(a, 50), "bus": lambda: harness.kill(node.bus_pid()),
         "daemon": lambda: (node.kill(), node.start()), "isolate": lambda: bed.isolate(a),
         "split": lambda: bed.split(odd, even), "node": node.kill_node,
         "hang": lambda: harness.kill(node.process.pid, signal.SIGSTOP)}[fault]()

    def mend(self):
        for node in self.net.nodes.values():
            if node.running:
                harness.kill(node.process.pid, signal.SIGCONT)
            else:
                node.start()
        self.net.recover(40)

    def allow(self, fault):
        if fault not in ALONE:
            return []
        lost = self.net.allow("loss", fault)
        if self.args.strategy != "divergence" or fault in ("hang", "node"):
            lost.since = 0
        more = [] if self.args.strategy != "divergence" else [self.net.allow("divergence", fault)]
        return [lost, *more]

    def turn(self):
        fault = self.random.choice(self.args.faults.split(","))
        a, b = self.random.sample(range(1, self.args.nodes + 1), 2)
        print(f"{time.strftime('%T')} {fault} {a} {b}", end="", flush=True)
        for instance in self.random.sample(range(ROOMS), 5):
            self.net.nodes["a"].ctl("move", f"room/{instance}", self.random.choice(self.names),
                                    "--no-wait")
        time.sleep(self.random.choice([0, 0.02, 0.05, 0.1, 0.3, 0.8]))
        allowed = self.allow(fault)
        self.do(fault, a, b)
        time.sleep(self.random.choice([0.1, 0.5, 1.5, 2.5, 3.5]))
        began = time.monotonic()
        self.mend()
        for exception in allowed:
            exception.end()
        found = self.net.verify()
        print(f": calm after {time.monotonic() - began:.1f} s, "
              f"{sum(map(len, found.intervals.values()))} activations, {len(found.acks)} updates, "
              f"{found.excused['loss']} of them lost", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--strategy", default="divergence")
    parser.add_argument("--faults", default=",".join(FAULTS))
    args = parser.parse_args()
    print("seed", args.seed)
    nemesis, ok = Nemesis(args), False
    try:
        nemesis.start()
        end = time.monotonic() + args.seconds
        while time.monotonic() < end:
            nemesis.turn()
        ok = True
    finally:
        if not ok:
            for node in nemesis.net.nodes.values():
                print(f"---- output of {node.name}\n{node.log()}")
        nemesis.net.close(orderly=ok)


if __name__ == "__main__":
    main()
