"""Real daemons on hosts of their own (nets.py), clients on further ones, and their history.

The nodes a, b, c ... stand on the hosts 1, 2, 3 ...; one more host is the clients', with a way to
the control socket of every daemon (Unix sockets are no part of a network namespace). A client of
a node's own host has that of its daemon alone. verify() checks all that happened so far.
"""

import json
import os
import socket
import subprocess
import threading
import time

import harness
import history
import nets
from clients import Client
from raw import raw

FAILURE_S = 2.0
PORT = 7400
# more than failure_timeout + 1 s is too late; the rest is for a machine that has other work
DETECTED_S = FAILURE_S + 1 + 3
MOVES = {"retention": "500ms", "timeout": "8s", "downtime": "1s"}


def room(cluster, name, *args, migration=None, **options):
    """A child of worker.py that writes down its history, and can be held at a step."""
    return raw(cluster, name, "--history", cluster.history_path, "--network",
               nets.Bed.address(cluster.outside), *args, migration={**MOVES, **(migration or {})},
               **options)


class NetClient(Client):
    """A client that runs on a host, and asks those daemons, the nearest first."""

    patience = stall = 1

    def __init__(self, cluster, child, instance=0, at=None, pause=0.01):
        self.host = cluster.host_of[at] if at else cluster.outside
        self.nodes, self.turn = [at] if at else sorted(cluster.nodes), -1
        self.acks_seen = []
        super().__init__(cluster, child, instance, pause)

    def run(self):
        nets.enter(self.cluster.bed.name(self.host))
        super().run()

    def choose(self):
        """The next one where the last did not help."""
        self.turn += 1
        return self.cluster.nodes[self.nodes[self.turn % len(self.nodes)]]

    def answered(self, seq, answer):
        self.acks_seen.append({
            "what": "ack", "time": history.now(), "child": self.child, "instance": self.instance,
            "client": self.name, "number": seq, "epoch": int(answer[2]), "node": answer[3]})
        self.acked = seq


class NetCluster(harness.Cluster):
    """`count` nodes that are not started yet, each on its host."""

    def __init__(self, count):
        super().__init__(PORT)
        self.host_of, self.clients, self.allowed = {}, [], []
        self.verified = 0
        self.outside = count + 1
        self.history_path = self.dir + "/history"
        self.key_file = self.dir + "/key"
        subprocess.run([harness.CTL, "keygen", self.key_file], check=True)
        self.bed = nets.Bed(count + 1)

    def address(self, number):
        return f"tcp://{nets.Bed.address(number)}:{self.port}"

    def node(self, name, children=None, cluster=None, **more):
        host = self.host_of[name] = len(self.nodes) + 1
        node = super().node(name, children, cluster={
            "key_file": self.key_file, "failure_timeout": f"{FAILURE_S:g}s",
            "join_timeout": "5s", **(cluster or {})}, **more)
        node.prefix = self.bed.inside(host)
        return node

    # ---- clients, and what happened

    def client(self, child, instance=0, at=None):
        client = NetClient(self, child, instance, at)
        self.clients.append(client)
        return client

    def allow(self, kind, reason, **where):
        allowed = history.Allowed(kind, reason, since=history.now(), **where)
        self.allowed.append(allowed)
        return allowed

    def state(self, child, instance=0):
        """What the owner of a child has applied, as every live node knows that owner."""
        def asked():
            try:
                entry = self.live[0].lookup(child, instance=instance)
                host, port = entry[0]["meta"]["address"].split(":")
                with socket.create_connection((host, int(port)), 2) as s, s.makefile("rb") as f:
                    s.sendall(b"dump\n")
                    word, _, rest = f.readline().partition(b" ")
                return json.loads(rest) if word == b"ok" else None
            except (OSError, IndexError, KeyError):
                return None
        self.wait_everywhere(child, instance)
        state = harness.wait(lambda: self.bed.within(self.outside, asked),
                             f"the state of {child}/{instance}")
        return {"what": "final", "time": history.now(), "child": child, "instance": instance,
                "state": state}

    def verify(self):
        """Each client still gets answers, and everything so far is as it must be."""
        for client in self.clients:
            client.acks(2, timeout=15)
        acks = [ack for client in self.clients for ack in list(client.acks_seen)]
        finals = [self.state(*key) for key in sorted({(c.child, c.instance)
                                                      for c in self.clients})]
        found = history.History(history.read(self.history_path) + acks + finals, self.allowed)
        wrong = found.violations()
        wrong += [f"of {final['child']}/{final['instance']} no worker has told of itself"
                  for final in finals if history.History.key(final) not in found.intervals]
        assert not wrong, "\n".join(wrong[:20])
        self.verified += 1
        return found

    # ---- waiting

    def hold(self, condition, seconds, what):
        """It stays so for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert condition(), f"not for {seconds} s: {what() if callable(what) else what}"
            time.sleep(0.05)

    def wait_state(self, node, state, of, timeout=15):
        """Until those nodes say that of `node`; seconds since the call."""
        began = time.monotonic()
        harness.wait(lambda: all(self.seen(one, node) == state for one in of),
                     lambda: f"{node} is {state}: { {one: self.seen(one, node) for one in of} }" +
                     "".join(self.nodes[one].log() for one in of), timeout)
        return time.monotonic() - began

    def seen(self, one, node):
        return {n["name"]: n["state"] for n in self.nodes[one].status()["nodes"]}.get(node)

    def is_untouched(self, before):
        """The children of entries() run as they did."""
        return self.entries() == before

    def entries(self, node=None):
        """(child, instance, node, pid, epoch) of all, as the first live node knows them."""
        return sorted((c["child"], c["instance"], c["node"], c["pid"], c["epoch"])
                      for c in (node or self.live[0]).status()["children"])

    def entry(self, child, instance=0):
        return self.live[0].child(child, instance)

    def settled(self):
        """All nodes tell the same of each child: it runs, as the one process that is there."""
        told = [{(c["child"], c["instance"]): (c["node"], c["pid"], c["epoch"], c["state"])
                 for c in node.status()["children"]} for node in self.live]
        pids = harness.processes_of(f"PROCHUB_SOCKET={self.dir}/")
        return (all(one == told[0] for one in told) and
                sorted(pids) == sorted(entry[1] or 0 for entry in told[0].values()) and
                all(entry[3] == "running" for entry in told[0].values()))

    def recover(self, timeout=25):
        """After heal(): all see all, nothing moves any more, each child has one process."""
        self.bed.heal()
        self.wait_members(timeout)
        self.wait_quiet()
        harness.wait(self.settled, lambda: "one worker of each, and all know it: " + "\n".join(
            f"{self.entries(n)}\n{n.log()}" for n in self.live), timeout)

    def close(self, orderly):
        for client in self.clients:
            client.stopping.set()
        for client in self.clients:
            client.join(10)
        try:
            super().close(orderly)
        finally:
            self.bed.close()
