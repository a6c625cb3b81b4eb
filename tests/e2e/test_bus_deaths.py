"""prochub-bus that dies again and again, as nanomsg's asserts may make it: no worker notices."""

import threading
import time

import harness
from clients import Client
from raw import counter, sleeper
from test_upgrade import install, replace

LONG = {"failure_timeout": "30s"}  # longer than anything here: a link that is away is no death


def times(node, text="prochub-bus: "):
    return node.whole_log().count(text)


class Killing(threading.Thread):
    """Whenever there is a bus process of the node, it is killed."""

    def __init__(self, node):
        super().__init__()
        self.node, self.pids, self.over = node, [], False
        self.start()

    def run(self):
        while not self.over:
            pid = self.node.bus_pid()
            if pid and pid not in self.pids:
                self.pids.append(pid)
                harness.kill(pid)
            time.sleep(0.02)

    def finish(self):
        self.over = True
        self.join()


def test_killed_in_a_loop(cluster):
    """The pauses grow to 2 s; afterwards all is as it was, and a move works."""
    a, b = cluster.start("a", "b", cluster=LONG,
                         children={"count": counter(), "web": sleeper(instances=6)})
    names = [("web", i) for i in range(6)] + [("count", 0)]
    before = {n: cluster.wait_everywhere(*n) for n in names}
    client = Client(cluster, "count")
    client.acks(10)
    killing = Killing(a)
    harness.wait(lambda: len(killing.pids) >= 7, lambda: f"killed {killing.pids}", 20)
    acked = client.acked
    harness.wait(lambda: client.acked > acked, "served all the time")
    killing.finish()
    cluster.wait_members()
    for n in names:
        entry = cluster.wait_everywhere(*n)
        assert (entry["pid"], entry["epoch"]) == (before[n]["pid"], before[n]["epoch"]), n
    for node in (a, b):
        assert not node.events("node_dead", "child_exited", "conflict_resolved")
    target = b if before["count", 0]["node"] == "a" else a
    harness.wait(lambda: a.ctl("move", "count", target.name).returncode == 0, "a move", 15)
    client.acks(10)
    client.finish()


def test_one_that_cannot_live(cluster):
    """Started again with growing pauses; people are told some times, not each time."""
    path = install(cluster)
    node = cluster.node("a", {"web": sleeper(instances=3)}, cluster=LONG)
    node.program = path
    node.start()
    pids = [node.wait_running("web", i)["pid"] for i in range(3)]
    good, starts = path.replace("prochubd", "prochub-bus"), cluster.dir + "/starts"
    replace(good, text=f"#!/bin/sh\necho x >>{starts}\nkill -ABRT $$\n")
    began = time.monotonic()
    harness.kill(node.bus_pid())

    def started():
        try:
            with open(starts) as f:
                return len(f.read().split())
        except OSError:
            return 0
    harness.wait(lambda: started() >= 6, started, 20)
    # 100, 200, 400 ... 1600 ms lie between them
    assert time.monotonic() - began > 1.5
    assert node.call("ping")["ok"]
    assert [node.child("web", i)["pid"] for i in range(3)] == pids
    harness.wait(lambda: started() >= 12, started, 30)
    assert 7 <= times(node) <= 10, node.log()
    assert len(node.events("bus_restarted")) <= 11
    replace(good, program=harness.BUILD + "/prochub-bus")
    bus = harness.wait(node.bus_pid, "it lives again", 10)
    harness.wait(lambda: node.whole_log().count("listening on") >= 2 and harness.alive(bus),
                 lambda: node.log(), 10)
    assert [node.wait_running("web", i)["pid"] for i in range(3)] == pids
    assert all(e["restarts"] == 0 for e in node.status()["children"])
