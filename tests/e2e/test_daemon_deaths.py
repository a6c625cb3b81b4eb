"""kill -9 of either daemon in each phase of a migration, both started again at once.

A worker that stalls holds the migration in its phase. Whatever the outcome is, one worker is left,
every acknowledged update is in it, and nothing else was disturbed.
"""

import harness
import pytest
from clients import Client
from raw import ends, faults, raw, sleeper

OLD = ["ask", "start", "data", "state_end", "freeze", "final", "sent", "committed", "stop"]
NEW = ["connect", "hello", "handover", "load", "loading", "loaded", "activate"]
SLOW = {"downtime": "8s", "timeout": "12s", "retention": "800ms"}


def CHILDREN(cluster):
    return {**{name: raw(cluster, name, "--ballast", "200000", migration=SLOW,
                         stop_timeout="4s") for name in OLD + NEW},
            "second-loaded": raw(cluster, "second-loaded", migration=SLOW),
            "mid": raw(cluster, "mid", "--ballast", "30000000", migration=SLOW),
            "by": sleeper(instances=4)}


def hold(cluster, child, step):
    """A migration that stands still at that step; client, source, target, entry before."""
    client = Client(cluster, child)
    client.acks(20)
    source, target = ends(cluster, child)
    before = source.child(child)
    by = bystanders(cluster)
    assert cluster.wait_single(child) == before["pid"]
    since = len(faults(cluster, child).log())
    faults(cluster, child).set(f"stall@{step}")
    assert source.ctl("move", child, target.name, "--no-wait").returncode == 0
    faults(cluster, child).wait(step, since=since)
    return client, source, target, before, by


def bystanders(cluster):
    return [cluster.wait_everywhere("by", i)["pid"] for i in range(4)]


def settle(cluster, child, client, by):
    """Everything has come to rest, and is right."""
    cluster.wait_members()
    cluster.wait_quiet()
    entry = cluster.wait_everywhere(child, timeout=20)
    pid = cluster.wait_single(child, timeout=15)
    assert entry["pid"] == pid and entry["restarts"] == 0
    client.acks(20)
    assert bystanders(cluster) == by
    for i, other in enumerate(by):
        assert cluster.workers("by", i) == [other]
    client.finish(dead_allowed=True)
    results = {m["id"]: {m["result"]} for m in cluster.live[0].migrations(child)}
    for m in cluster.live[1].migrations(child):
        results.setdefault(m["id"], set()).add(m["result"])
    assert all(len(r) == 1 for r in results.values()), results
    return entry


@pytest.mark.parametrize("who", ["source", "target"])
@pytest.mark.parametrize("step", OLD + NEW)
def test_daemon_is_killed(pair, step, who):
    client, source, target, before, by = hold(pair, step, step)
    killed = source if who == "source" else target
    killed.kill()
    killed.start()
    faults(pair, step).clear()
    entry = settle(pair, step, client, by)
    # (the plan after the restarted daemon's join may have moved it once more)
    if entry["pid"] == before["pid"]:
        assert entry["node"] == source.name
        assert step not in ("committed", "stop", "activate")
    else:
        assert entry["epoch"] > before["epoch"]


@pytest.mark.parametrize("who", ["source", "target"])
def test_daemon_is_killed_while_the_worker_stays_stalled(pair, who):
    """It is released only after the daemon is back and knows of the migration."""
    since = len(faults(pair, "second-loaded").log())
    client, source, target, before, by = hold(pair, "second-loaded", "final")
    faults(pair, "second-loaded").set("stall@loaded")
    faults(pair, "second-loaded").wait("loaded", count=2, since=since)
    killed = source if who == "source" else target
    killed.kill()
    killed.start()
    pair.wait_members()
    faults(pair, "second-loaded").clear()
    settle(pair, "second-loaded", client, by)


def test_both_daemons_are_killed_at_once(pair):
    for step in ("loading", "final", "activate"):
        client, source, target, before, by = hold(pair, "mid", step)
        for node in (source, target):
            node.kill()
        for node in (source, target):
            node.start(ready=False)
        for node in (source, target):
            node.wait_up()
        faults(pair, "mid").clear()
        settle(pair, "mid", client, by)


def test_bus_is_killed_in_mid_transfer(pair):
    client, source, target, before, by = hold(pair, "mid", "loading")
    for node in (source, target):
        bus = node.bus_pid()
        harness.kill(bus)
    faults(pair, "mid").clear()
    entry = settle(pair, "mid", client, by)
    assert entry["node"] in (source.name, target.name)
