"""Quorum strategies: what a part of the cluster does alone, and what it never does."""

import signal
import time

import harness
import pytest

TIMES = {"failure_timeout": "2500ms", "join_timeout": "2s", "settle": "300ms"}
SLEEP = {"command": ["/bin/sleep", "1000"], "instances": 6, "stop_timeout": "300ms"}


def make(cluster, count=3, strategy="majority", **partition):
    options = {**TIMES, "partition": {"strategy": strategy, **partition},
               "peers": [cluster.address(number + 1) for number in range(count)]}
    nodes = [cluster.node(name, {"room": dict(SLEEP)}, cluster=options)
             for name in "abcde"[:count]]
    for node in nodes:
        node.start()
    return nodes


def quorum(node):
    return node.status()["quorum"]


def wait_quorum(node, value, timeout=15):
    harness.wait(lambda: quorum(node) is value,
                 lambda: f"quorum {value} on {node.name}\n{node.log()}", timeout)


def running(node):
    """Pids of the room's processes on that machine."""
    return [pid for pid in harness.processes_of("PROCHUB_SOCKET=" + node.run_dir + "/")
            if harness.alive(pid)]


def wait_all(nodes, live):
    """Each instance runs once, on a node that lives, as all of them say."""
    names = {node.name for node in live}

    def settled():
        for node in live:
            entries = [e for e in node.status()["children"]
                       if e["state"] == "running" and e["node"] in names]
            if len(entries) != SLEEP["instances"]:
                return False
        return sum(len(running(node)) for node in nodes) == SLEEP["instances"]
    harness.wait(settled, lambda: "all run once\n" + "\n".join(n.log() for n in live), 20)


def test_majority(cluster):
    nodes = a, b, c = make(cluster)
    wait_all(nodes, nodes)
    for node in nodes:
        wait_quorum(node, True)
    assert "quorum yes" in a.ctl("status").stdout
    there = len(running(c))
    assert there

    # c hears nobody and is not heard: it ends what others may start, and only then they do
    bus = c.bus_pid()
    harness.kill(bus, signal.SIGSTOP)
    twice = []

    def taken_over():
        n = sum(len(running(node)) for node in nodes)
        if n > SLEEP["instances"]:
            twice.append(n)
        entries = [e for e in a.status()["children"] if e["node"] in ("a", "b")]
        return len([e for e in entries if e["state"] == "running"]) == SLEEP["instances"]
    harness.wait(taken_over, lambda: f"taken over\n{a.log()}", 20)
    assert not twice and not running(c)
    assert quorum(c) is False and c.events("quorum_lost")
    assert quorum(a) is True and quorum(b) is True

    harness.kill(bus, signal.SIGCONT)
    wait_quorum(c, True)
    assert c.events("quorum_gained")
    wait_all(nodes, nodes)
    for node in nodes:
        node.stop()


def test_restart_alone_is_no_majority(cluster):
    nodes = a, b, c = make(cluster)
    wait_all(nodes, nodes)
    for node in nodes:
        node.kill_node()
    c.start()
    time.sleep(6)  # longer than join_timeout and failure_timeout together: nothing may happen
    assert not running(c) and quorum(c) is False
    assert {n["name"] for n in c.status()["nodes"]} >= {"c"}
    assert "journal: " not in c.log()
    a.start()
    wait_all(nodes, [a, c])
    assert quorum(a) is True and quorum(c) is True
    b.start()
    wait_quorum(b, True)
    wait_all(nodes, nodes)


def test_two_nodes(cluster):
    """One that leaves in order takes its vote along; one that dies does not."""
    nodes = a, b = make(cluster, 2)
    wait_all(nodes, nodes)
    b.stop()
    wait_all(nodes, [a])
    assert quorum(a) is True
    b.start()
    wait_quorum(b, True)
    b.kill_node()
    wait_quorum(a, False)
    harness.wait(lambda: not running(a), lambda: f"a has stopped all\n{a.log()}")
    b.start()
    wait_all(nodes, nodes)


def test_static_quorum_out_of_reach(cluster):
    nodes = a, b = make(cluster, 2, "static-quorum", size=3)
    time.sleep(3)
    assert quorum(a) is False and not running(a) and not running(b)
    local = {"here": {"command": ["/bin/sleep", "1000"], "placement": {"strategy": "local"}}}
    a.config["children"].update(local)
    a.write()
    assert a.ctl("reload").returncode == 0
    a.wait_running("here")  # what is a node's own needs nobody


def test_dynamic_quorum_shrinks(cluster):
    nodes = a, b, c = make(cluster, 3, "dynamic-quorum", percent="51%", hold="1s")
    wait_all(nodes, nodes)
    c.kill_node()
    wait_all(nodes, [a, b])
    harness.wait(lambda: "2 of 2 a,b needed" in a.log() + b.log(),
                 lambda: f"the view has shrunk\n{a.log()}", 15)
    a.stop()
    wait_all(nodes, [b])


@pytest.mark.parametrize("text, words", (
    ("partition: {strategy: majorty}", "did you mean 'majority'"),
    ("partition: {strategy: static-quorum}", "static-quorum needs cluster.partition.size"),
    ("partition: {percent: 70%}", "only the strategy 'dynamic-quorum' has it"),
    ("partition: {strategy: dynamic-quorum, percent: 0%}", "out of range"),
))
def test_refused(cluster, text, words):
    node = cluster.node("a", alone=True)
    node.write(f"cluster:\n  listen: tcp://127.0.0.1:7400\n  {text}\n")
    result = node.ctl("check", node.file)
    assert result.returncode != 0 and words in result.stderr + result.stdout
