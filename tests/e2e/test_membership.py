"""Who is let in: a second node of one name, and a node that has lost its number."""

import os
import signal
import time

import pytest

import harness
from raw import counter


APART = 65536  # a number is so much above another one, at most


def node_of(node, name):
    """What that node says of a member."""
    return next((n for n in node.status()["nodes"] if n["name"] == name), {})


def self_of(node):
    return node_of(node, node.config["node"]["name"])


def test_second_node_of_one_name(cluster):
    """It is refused, says so, and takes the place once the first is gone."""
    children = {"room": counter(instances=4)}
    a, b = cluster.start("a", "b", children=children)
    first = node_of(a, "b")
    second = cluster.node("second", children, node={"name": "b"}).start()
    told = second.wait_event("node_refused")
    assert f"node a refuses this node: another node of the name b lives at {b.address}" \
        in told["text"], told
    assert told["text"] in second.log()
    seen = a.wait_event("node_refused", peer="b")
    assert second.address in seen["text"] and b.address in seen["text"], seen
    assert "joining" in second.ctl("status").stdout
    end = time.monotonic() + 4  # two failure_timeouts
    while time.monotonic() < end:
        assert self_of(second)["state"] == "joining"
        shown = node_of(a, "b")
        assert (shown["state"], shown["incarnation"], shown["address"]) == \
            ("alive", first["incarnation"], b.address), shown
        time.sleep(0.1)
    assert not harness.processes_of("PROCHUB_SOCKET=" + second.run_dir)
    assert not a.events("node_suspect", "node_dead")
    assert len(second.events("node_refused")) == 1
    b.kill_node()
    harness.wait(lambda: node_of(a, "b").get("address") == second.address and
                 node_of(a, "b")["state"] == "alive",
                 lambda: f"the second takes over: {node_of(a, 'b')}\n{a.log()}{second.log()}")
    assert self_of(second)["state"] == "alive"
    assert node_of(a, "b")["incarnation"] > first["incarnation"]
    for i in range(4):
        a.wait_running("room", i)
    b.start()  # now it is the second
    b.wait_event("node_refused")
    assert node_of(a, "b")["address"] == second.address
    b.kill()


def test_lost_number(cluster):
    """The state directory is lost and the clock is behind what the others know: it still joins."""
    b = cluster.node("b")
    os.makedirs(b.state_dir, mode=0o700)
    ahead = int(time.time() * 1000) + 10**8
    with open(b.state_dir + "/incarnation", "w") as f:
        f.write(f"{ahead}\n")
    (a,) = cluster.start("a")
    b.start()
    cluster.wait_members()
    known = node_of(a, "b")["incarnation"]
    assert ahead < known <= ahead + APART
    b.kill()
    os.unlink(b.state_dir + "/incarnation")
    b.start()
    harness.wait(lambda: known < node_of(a, "b").get("incarnation", 0) <= known + APART,
                 lambda: f"b is a member again: {node_of(a, 'b')}\n{b.log()}")
    cluster.wait_members()
    known = node_of(a, "b")["incarnation"]
    assert self_of(b)["incarnation"] == known
    with open(b.state_dir + "/incarnation") as f:
        assert int(f.read()) == known
    assert not a.events("node_dead")


def test_restart_is_no_second_node(cluster):
    """A daemon that is killed and comes back at its address is let in at once."""
    a, b = cluster.start("a", "b")
    for _ in range(3):
        before = node_of(a, "b")["incarnation"]
        b.kill()
        b.start()
        harness.wait(lambda: node_of(a, "b")["incarnation"] > before, "the new life is known")
        cluster.wait_members()
    assert not a.events("node_refused", "node_dead")
    assert not b.events("node_refused")


def test_hung_node_and_its_place(cluster):
    """A daemon that stands still keeps its name until it is dead for all."""
    a, b = cluster.start("a", "b")
    second = cluster.node("second", node={"name": "b"})
    b.process.send_signal(signal.SIGSTOP)
    try:
        second.start()
        second.wait_event("node_refused")
        harness.wait(lambda: node_of(a, "b").get("address") == second.address,
                     lambda: f"the second is let in\n{a.log()}{second.log()}")
        assert a.events("node_dead")
    finally:
        b.process.send_signal(signal.SIGCONT)
    b.wait_event("node_refused")  # it is not the member of that name any more
    assert node_of(a, "b")["address"] == second.address
    b.kill()


@pytest.mark.parametrize("partition", ["divergence", "majority"])
def test_peers_by_name(cluster, partition):
    """One list for all, with a name in it: the own entry is none, and nobody waits for anybody."""
    named = {"join_timeout": "30s", "partition": {"strategy": partition},
             "peers": [f"tcp://localhost:{cluster.port}", cluster.address(2)]}
    nodes = cluster.start("a", "b", children={"room": counter(instances=2)}, cluster=named)
    for i in range(2):
        nodes[0].wait_running("room", i)
    assert not any("has no address" in n.log() for n in nodes)
