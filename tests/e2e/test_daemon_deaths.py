"""kill -9 of either daemon in each phase of a migration, both started again at once; and of the
processes beside it, prochub-bus and prochub-fence.

A worker that stalls holds the migration in its phase. Whatever the outcome is, one worker is left,
every acknowledged update is in it, and nothing else was disturbed.
"""

import harness
import pytest
from clients import Client
from raw import faults, raw, sleeper

OLD = ["ask", "start", "data", "state_end", "freeze", "final", "sent", "committed", "stop"]
NEW = ["connect", "hello", "handover", "load", "loading", "loaded", "activate"]
# four at a time, so that one death of a daemon meets four migrations in different phases
GROUPS = [OLD[0:3] + NEW[0:1], OLD[3:5] + NEW[1:3], OLD[5:7] + NEW[3:5], OLD[7:9] + NEW[5:7]]
SLOW = {"downtime": "5s", "timeout": "6s", "retention": "800ms"}


def CHILDREN(cluster):
    return {**{name: raw(cluster, name, "--ballast", "200000", migration=SLOW,
                         stop_timeout="4s") for name in OLD + NEW},
            "second-loaded": raw(cluster, "second-loaded", migration=SLOW),
            "mid": raw(cluster, "mid", "--ballast", "30000000", migration=SLOW),
            "by": sleeper(instances=4)}


class Held:
    """A migration from a to b that stands still at a step, and a client of its child."""

    def __init__(self, cluster, child, step):
        self.cluster, self.child, self.step = cluster, child, step
        self.faults = faults(cluster, child)
        self.client = Client(cluster, child)
        self.client.acks(10)
        self.source, self.target = cluster.nodes["a"], cluster.nodes["b"]
        self.wait_rested()
        self.source.call("move", child=child, node="a")
        cluster.wait_everywhere(child, node="a")
        cluster.wait_single(child)
        self.before = self.source.child(child)
        self.since = len(self.faults.log())

    def wait_rested(self):
        """What the test before has left: a migration that is tried again a while later."""
        def rested():
            for node in self.cluster.live:
                last = [e for e in node.events("migration_started", "migration_aborted")
                        if e["child"] == self.child][-1:]
                if last and harness.age_s(last[0]["time"]) < 2.5:
                    return False
            return True
        harness.wait(rested, f"nothing happens to {self.child}", 20)
        self.cluster.wait_calm()

    def go(self):
        self.faults.set(f"stall@{self.step}")
        assert self.source.ctl("move", self.child, "b", "--no-wait").returncode == 0
        return self

    def wait(self, step=None, count=1):
        self.faults.wait(step or self.step, since=self.since, count=count)
        return self

    def check(self):
        """Everything has come to rest, and is right."""
        cluster, child = self.cluster, self.child

        def at_rest():  # the plan after a join may move it once more just now
            entry = cluster.wait_everywhere(child, timeout=20)
            return entry if cluster.workers(child) == [entry["pid"]] else None
        entry = harness.wait(at_rest, lambda: f"{child} is at rest: {cluster.workers(child)}", 30)
        assert entry["restarts"] == 0
        self.client.acks(20)
        self.client.finish(dead_allowed=True)
        results = {}
        for node in cluster.live:
            for m in node.migrations(child):
                results.setdefault(m["id"], set()).add(m["result"])
        assert all(len(r) == 1 for r in results.values()), (child, results)
        if entry["pid"] == self.before["pid"]:
            assert entry["node"] == self.source.name
            assert self.step not in ("committed", "stop", "activate"), child
        else:  # (the plan after the restarted daemon's join may have moved it once more)
            assert entry["epoch"] > self.before["epoch"]


def bystanders(cluster):
    return [cluster.wait_everywhere("by", i)["pid"] for i in range(4)]


def settle(cluster, held, by):
    cluster.wait_members()
    cluster.wait_quiet()
    for one in held:
        one.check()
    assert bystanders(cluster) == by
    for i, other in enumerate(by):
        assert cluster.workers("by", i) == [other]


@pytest.mark.parametrize("who", ["source", "target"])
@pytest.mark.parametrize("steps", GROUPS, ids="-".join)
def test_daemon_is_killed(pair, steps, who):
    held = [Held(pair, step, step) for step in steps]
    by = bystanders(pair)
    for one in held:
        one.go()
    for one in held:
        one.wait()
    killed = held[0].source if who == "source" else held[0].target
    killed.kill()
    killed.start()
    for one in held:
        one.faults.clear()
    settle(pair, held, by)


@pytest.mark.parametrize("who", ["source", "target"])
def test_daemon_is_killed_while_the_worker_stays_stalled(pair, who):
    """It is released only after the daemon is back and knows of the migration."""
    held = Held(pair, "second-loaded", "final")
    by = bystanders(pair)
    held.go().wait()
    held.faults.set("stall@loaded")
    held.wait("loaded", count=2)
    killed = held.source if who == "source" else held.target
    killed.kill()
    killed.start()
    pair.wait_members()
    held.faults.clear()
    settle(pair, [held], by)


@pytest.mark.parametrize("step", ["loading", "final", "activate"])
def test_both_daemons_are_killed_at_once(pair, step):
    held = Held(pair, "mid", step)
    by = bystanders(pair)
    held.go().wait()
    for node in pair.live:
        node.kill()
    for node in pair.nodes.values():
        node.start(ready=False)
    for node in pair.nodes.values():
        node.wait_up()
    held.faults.clear()
    settle(pair, [held], by)


def test_bus_is_killed_in_mid_transfer(pair):
    held = Held(pair, "mid", "loading")
    by = bystanders(pair)
    held.go().wait()
    for node in pair.live:
        harness.kill(node.bus_pid())
    held.faults.clear()
    settle(pair, [held], by)


@pytest.mark.parametrize("who", ["source", "target"])
@pytest.mark.parametrize("steps", GROUPS, ids="-".join)
def test_what_stands_beside_a_daemon_is_killed(pair, steps, who):
    """The daemon starts both again: no worker notices, and each migration comes to its end."""
    held = [Held(pair, step, step) for step in steps]
    by = bystanders(pair)
    for one in held:
        one.go()
    for one in held:
        one.wait()
    node = held[0].source if who == "source" else held[0].target
    before = node.bus_pid(), node.fence_pid()
    assert all(before)
    for pid in before:
        harness.kill(pid)
    for one in held:
        one.faults.clear()
    settle(pair, held, by)
    after = harness.wait(lambda: node.bus_pid() and node.fence_pid() and
                         (node.bus_pid(), node.fence_pid()), "both are there again")
    assert not set(after) & set(before)
