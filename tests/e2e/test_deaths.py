"""Workers killed in each phase of a migration, and nodes lost in the middle of one."""

import harness
import pytest
from clients import Client
from raw import ends, faults, raw

# steps of worker.py before which it can die; the old worker's, then the new one's
OLD = ["ask", "start", "data", "state_end", "freeze", "final"]
NEW = ["connect", "hello", "handover", "load", "loading", "loaded"]
SLOW = {"downtime": "5s", "timeout": "12s", "retention": "800ms"}


# workers die here, and no node: what its machine does beside is no reason to suspect one
CLUSTER = {"failure_timeout": "10s"}


def CHILDREN(cluster):
    names = OLD + NEW + ["sent", "delta", "activate", "committed", "stopping"]
    return {**{name: raw(cluster, name, "--ballast", "200000") for name in names},
            "by": raw(cluster, "by")}


def begin(cluster, child):
    client = Client(cluster, child)
    client.acks(20)
    source, target = ends(cluster, child)
    return client, source, target, source.child(child)


@pytest.mark.parametrize("step", OLD)
def test_old_worker_dies(pair, step):
    """Its state dies with it, while not all of it was sent; the child is restarted by policy."""
    client, source, target, before = begin(pair, step)
    faults(pair, step).set(f"die@{step}")
    result = source.ctl("move", step, target.name)
    faults(pair, step).clear()
    assert result.returncode == 1, result
    pair.wait_calm()
    entry = pair.wait_everywhere(step, pid=lambda p: p != before["pid"])
    assert pair.wait_single(step) == entry["pid"]
    client.acks(10)
    client.finish(dead_allowed=True, lost_allowed=True)
    assert_calm(pair)


def test_old_worker_dies_when_all_was_sent(pair):
    """The new one holds the only good copy: it goes on, and nothing is lost."""
    client, source, target, before = begin(pair, "sent")
    sent = faults(pair, "sent")
    sent.set("stall@sent")
    assert source.ctl("move", "sent", target.name, "--no-wait").returncode == 0
    sent.wait("loaded", count=2)
    harness.kill(before["pid"])
    sent.clear()
    pair.wait_calm()
    entry = pair.wait_everywhere("sent", node=target.name)
    assert pair.wait_single("sent") == entry["pid"]
    client.finish(dead_allowed=True)
    assert_calm(pair)


@pytest.mark.parametrize("step", NEW)
def test_new_worker_dies(pair, step):
    client, source, target, before = begin(pair, step)
    faults(pair, step).set(f"die@{step}")
    result = source.ctl("move", step, target.name)
    faults(pair, step).clear()
    assert result.returncode == 1, result
    ended = source.wait_migration(step)
    assert ended["result"] == "aborted" and ended["reason"]
    assert pair.wait_single(step) == before["pid"]
    pair.wait_everywhere(step, pid=before["pid"], node=source.name)
    client.acks(20)
    harness.wait(lambda: source.ctl("move", step, target.name).returncode == 0,
                 "the next attempt", 20, pause=0.2)
    pair.wait_single(step)
    client.finish()
    assert_calm(pair)


def test_new_worker_dies_with_the_last_delta(pair):
    """The old one stands frozen, and goes on with all that it has, and its connections."""
    client, source, target, before = begin(pair, "delta")
    delta = faults(pair, "delta")
    delta.set("stall@final")
    assert source.ctl("move", "delta", target.name, "--no-wait").returncode == 0
    delta.wait("final")
    delta.set("die@loaded")
    ended = source.wait_migration("delta")
    delta.clear()
    assert ended["result"] == "aborted" and "ended" in ended["reason"], ended
    assert pair.wait_single("delta") == before["pid"]
    pair.wait_everywhere("delta", pid=before["pid"], node=source.name)
    client.acks(20)
    client.finish()
    assert_calm(pair)


def test_new_worker_dies_between_activate_and_ready(pair):
    """It has acknowledged nothing: the old one, still in its retention, takes the child back."""
    client, source, target, before = begin(pair, "activate")
    faults(pair, "activate").set("die@activate")
    source.ctl("move", "activate", target.name)
    faults(pair, "activate").clear()
    pair.wait_calm()
    entry = pair.wait_everywhere("activate")
    assert pair.wait_single("activate") == entry["pid"] == before["pid"]
    assert entry["epoch"] > before["epoch"]
    client.finish()
    assert_calm(pair)


@pytest.mark.parametrize("step", ["committed", "stopping"])
def test_old_worker_dies_in_its_retention(pair, step):
    client, source, target, before = begin(pair, step)
    faults(pair, step).set("die@" + {"stopping": "stop"}.get(step, step))
    result = source.ctl("move", step, target.name)
    faults(pair, step).clear()
    assert result.returncode == 0, result
    entry = pair.wait_everywhere(step, node=target.name)
    assert pair.wait_single(step) == entry["pid"]
    assert entry["restarts"] == 0
    client.finish(dead_allowed=True)
    assert_calm(pair)


def assert_calm(cluster):
    """Nobody suspected anybody, nothing waits, and what had no part in it was left alone."""
    assert not [e for n in cluster.live for e in n.events("node_suspect", "node_dead")]
    assert not [m for n in cluster.live for m in n.migrations() if m["result"] == "running"]
    assert cluster.wait_everywhere("by")["restarts"] == 0


# ---- whole nodes

def one(cluster, **more):
    cluster.start("a", "b", "c", children={
        "room": raw(cluster, "room", "--ballast", "200000", migration=SLOW, **more)})
    return begin(cluster, "room")


@pytest.mark.parametrize("step", ["hello", "loading", "loaded"])
def test_target_node_dies(cluster, step):
    """The old worker goes on with its state and the same pid."""
    client, source, target, before = one(cluster)
    room = faults(cluster, "room")
    room.set(f"stall@{step}")
    assert source.ctl("move", "room", target.name, "--no-wait").returncode == 0
    room.wait(step)
    target.kill_node()
    room.clear()
    cluster.wait_calm()
    assert cluster.wait_single("room") == before["pid"]
    cluster.wait_everywhere("room", pid=before["pid"], node=source.name)
    client.acks(20)
    assert source.wait_migration("room")["result"] in ("aborted", "target-dead")
    client.finish()


@pytest.mark.parametrize("step", ["start", "data", "loading"])
def test_source_node_dies_before_the_copy_is_whole(cluster, step):
    """The state is lost with the node; the child is started once, elsewhere."""
    client, source, target, before = one(cluster)
    room = faults(cluster, "room")
    room.set(f"stall@{step}")
    assert source.ctl("move", "room", target.name, "--no-wait").returncode == 0
    room.wait(step)
    source.kill_node()
    room.clear()
    entry = cluster.wait_everywhere("room", pid=lambda p: p != before["pid"])
    assert entry["node"] != source.name and entry["epoch"] > before["epoch"]
    assert cluster.wait_single("room") == entry["pid"]
    client.acks(20)
    client.finish(dead_allowed=True, lost_allowed=True)


@pytest.mark.parametrize("step", ["loaded", "activate"])
def test_source_node_dies_when_the_copy_is_whole(cluster, step):
    """Whoever has the whole copy goes on with it."""
    client, source, target, before = one(cluster)
    room = faults(cluster, "room")
    # the second `loaded` is that of the last delta
    room.set(f"stall@{step}" if step == "activate" else "stall@final")
    assert source.ctl("move", "room", target.name, "--no-wait").returncode == 0
    if step == "loaded":
        room.wait("final")
        room.set("stall@loaded")
    room.wait(step, count=1 if step == "activate" else 2)
    source.kill_node()
    room.clear()
    entry = cluster.wait_everywhere("room", pid=lambda p: p != before["pid"])
    assert entry["node"] != source.name
    if step == "activate":
        assert entry["node"] == target.name
    assert cluster.wait_single("room") == entry["pid"]
    client.acks(20)
    client.finish(dead_allowed=True, lost_allowed=step != "activate")


def test_target_node_dies_after_the_commit(cluster):
    """The old worker, still in its retention, has every update that was acknowledged."""
    client, source, target, before = one(cluster)
    room = faults(cluster, "room")
    room.set("stall@activate")
    assert source.ctl("move", "room", target.name, "--no-wait").returncode == 0
    room.wait("activate")
    target.kill_node()
    room.clear()
    entry = cluster.wait_everywhere("room", node=lambda n: n != target.name)
    assert cluster.wait_single("room") == entry["pid"]
    assert entry["epoch"] > before["epoch"]
    client.acks(20)
    client.finish(dead_allowed=True, lost_allowed=entry["pid"] != before["pid"])


@pytest.mark.parametrize("strategy", ["divergence", "majority"])
def test_a_third_node_dies_before_the_claim(cluster, strategy):
    """Nobody knows yet that it is dead, so its answer is waited for, unless a quorum is there; the
    worker is not kept frozen for it longer than its budget, and the move comes to its end."""
    nodes = cluster.start("a", "b", "c", cluster={"partition": {"strategy": strategy}},
                          children={"by": raw(cluster, "by", migration={"downtime": "500ms"},
                                              placement={"nodes": ["a", "b"]})})
    cluster.wait_members()
    cluster.wait_calm()
    client = Client(cluster, "by")
    client.acks(20)
    source, target = ends(cluster, "by")
    nodes[2].kill_node()
    moved = source.ctl("move", "by", target.name)
    assert moved.returncode == 0, moved
    ended = [m for m in source.migrations("by") if m["result"] != "running"]
    assert ended[0]["result"] == "done", ended
    assert all(m["downtime_ms"] is None or m["downtime_ms"] <= 500 for m in ended), ended
    assert len(ended) == 1 if strategy == "majority" else len(ended) <= 2, ended
    cluster.wait_everywhere("by", node=target.name)
    client.acks(20)
    client.finish(dead_allowed=True)
