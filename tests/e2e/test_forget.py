"""`forget`: a node whose machine is switched off for good counts no longer."""

import os
import shutil

import harness
import pytest
from raw import counter, ends

TIMES = {"failure_timeout": "2500ms", "join_timeout": "2s", "settle": "300ms"}
SLEEP = {"command": ["/bin/sleep", "1000"], "instances": 6, "stop_timeout": "300ms"}
QUORUM = {"strategy": "majority"}


def make(cluster, partition=None, children=None):
    options = {**TIMES, **({"partition": partition} if partition else {})}
    nodes = [cluster.node(name, children or {"room": dict(SLEEP)}, cluster=options)
             for name in "abc"]
    for node in nodes:
        node.start(ready=False)
    for node in nodes:
        node.wait_up()
    cluster.wait_members()
    return nodes


def state(node, name):
    """What that node says of the other one; None where it does not list it."""
    return {n["name"]: n["state"] for n in node.status()["nodes"]}.get(name)


def wait_dead(nodes, name):
    for node in nodes:
        harness.wait(lambda: state(node, name) == "dead",
                     lambda: f"{node.name} holds {name} for dead\n{node.log()}", 15)


def wait_all_run(nodes):
    names = {node.name for node in nodes}

    def settled(node):
        entries = [e for e in node.status()["children"]
                   if e["state"] == "running" and e["node"] in names]
        return len(entries) == SLEEP["instances"]
    for node in nodes:
        harness.wait(lambda: settled(node), lambda: "all run\n" + "\n".join(
            n.log() for n in nodes), 25)


@pytest.mark.parametrize("partition", [None, QUORUM], ids=["divergence", "majority"])
def test_refused_until_it_is_dead(cluster, partition):
    a, b, c = make(cluster, partition)
    wait_all_run([a, b, c])
    for name, code, words in (("a", 1, "node a lives: it is this one"),
                              ("c", 1, "node c lives"), ("z", 4, "no node 'z' is known")):
        result = a.ctl("forget", name)
        assert (result.returncode, result.stdout) == (code, ""), result
        assert result.stderr == f"prochubctl: {words}\n"
    with pytest.raises(harness.Refused) as refused:
        b.call("forget", node="c")
    assert refused.value.code == "refused" and state(a, "c") == "alive"
    c.kill_node()
    wait_dead([a, b], "c")
    wait_all_run([a, b])
    result = b.ctl("forget", "c", "--timeout", "20s")
    assert (result.returncode, result.stdout) == (0, "c: forgotten\n"), result
    for node in (a, b):
        assert state(node, "c") is None
        assert [e["peer"] for e in node.events("node_left")] == ["c"]
        if partition:
            harness.wait(lambda: "2 of 2 a,b needed" in node.log(), "the view is without it")
    assert a.ctl("forget", "c").returncode == 0  # once more: it is so already
    assert len(a.events("node_left")) == 1
    wait_all_run([a, b])
    # the machine is repaired, or another one gets its name: a new member
    shutil.rmtree(c.state_dir)
    c.start()
    for node in (a, b):
        harness.wait(lambda: state(node, "c") == "alive", lambda: node.log(), 15)
    wait_all_run([a, b, c])


def test_another_one_has_lost_its_journal(cluster):
    """Without `forget` it would grant nothing, and what it ran would never be started again."""
    a, b, c = make(cluster, QUORUM)
    wait_all_run([a, b, c])
    c.kill_node()
    wait_dead([a, b], "c")
    wait_all_run([a, b])
    there = [e for e in a.status()["children"] if e["node"] == "b"]
    assert there
    b.kill_node()
    shutil.rmtree(b.state_dir)
    b.start()
    harness.wait(lambda: a.status()["quorum"] is True and b.status()["quorum"] is True,
                 lambda: f"a quorum\n{a.log()}\n{b.log()}", 20)
    run = [e for e in a.status()["children"] if e["state"] == "running" and e["node"] == "b"]
    assert not run, "b was granted something before it knew what it had granted"
    result = a.ctl("forget", "c", timeout=60)
    assert (result.returncode, result.stdout) == (0, "c: forgotten\n"), result
    wait_all_run([a, b])
    for node in (a, b):
        assert "2 of 2 a,b needed" in node.log(), node.log()
        assert state(node, "c") is None
        node.wait_event("node_left", peer="c")


def test_no_quorum_of_the_old_view(cluster):
    a, b, c = make(cluster, QUORUM)
    wait_all_run([a, b, c])
    b.kill_node()
    c.kill_node()
    wait_dead([a], "b")
    wait_dead([a], "c")
    for name in ("b", "c"):
        result = a.ctl("forget", name)
        assert result.returncode == 1
        assert "this node has no quorum, and the view changes only by one" in result.stderr
    assert state(a, "b") == "dead" and state(a, "c") == "dead"
    b.start()
    wait_all_run([a, b])
    assert a.ctl("forget", "c", timeout=60).returncode == 0


def test_who_was_away_is_told(cluster):
    """One that was cut off when it was ordered hears of it when it is back."""
    a, b, c = make(cluster)
    wait_all_run([a, b, c])
    c.kill_node()
    wait_dead([a, b], "c")
    bus = b.bus_pid()
    harness.kill(bus, harness.signal.SIGSTOP)
    wait_dead([a], "b")
    assert a.ctl("forget", "c").returncode == 0
    assert state(a, "c") is None and state(b, "c") == "dead"
    harness.kill(bus, harness.signal.SIGCONT)
    harness.wait(lambda: state(b, "c") is None, lambda: f"b is told\n{b.log()}", 20)
    b.wait_event("node_left", peer="c")
    wait_all_run([a, b])


def test_it_lives_after_all(cluster):
    """A wrong order: it was only cut off. It comes back under a higher number; nothing is lost."""
    a, b, c = make(cluster, QUORUM)
    wait_all_run([a, b, c])
    before = {n["name"]: n["incarnation"] for n in a.status()["nodes"]}
    bus = c.bus_pid()
    harness.kill(bus, harness.signal.SIGSTOP)
    wait_dead([a, b], "c")
    wait_all_run([a, b])
    assert a.ctl("forget", "c").returncode == 0
    harness.kill(bus, harness.signal.SIGCONT)
    cluster.wait_members(20)
    after = {n["name"]: n["incarnation"] for n in a.status()["nodes"]}
    assert after["c"] > before["c"] and after["b"] == before["b"]
    harness.wait(lambda: c.status()["quorum"] is True, lambda: c.log(), 20)
    wait_all_run([a, b, c])
    for instance in range(SLEEP["instances"]):
        cluster.wait_single("room", instance)


def test_what_was_kept_for_it_goes(cluster):
    """A migration to it that was aborted because it died: nobody waits for its word any more."""
    a, b, c = make(cluster, children={"web": counter("--ballast", str(1 << 20))})
    source, target = ends(cluster, "web")
    target.kill_node()
    left = [node for node in (a, b, c) if node is not target]
    assert source.ctl("move", "web", target.name, "--no-wait").returncode in (0, 1)
    wait_dead(left, target.name)
    cluster.wait_calm()
    other = next(node for node in left if node is not source)
    assert other.ctl("forget", target.name).returncode == 0
    assert state(source, target.name) is None
    assert source.ctl("move", "web", other.name).returncode == 0
    cluster.wait_everywhere("web", node=other.name)
    assert os.path.exists(source.state_dir)
