"""Five hosts: majorities and minorities, and a join, a drain and a lost node over a bad network."""

import harness
import pytest
from netcluster import DETECTED_S, room

HOSTS = ("a", "b", "c", "d", "e")
ROOMS = 10


def CHILDREN(cluster):
    return {"room": room(cluster, "room", "--ballast", "100000", instances=ROOMS)}


def clients(cluster):
    for instance in range(ROOMS):
        cluster.client("room", instance)
    cluster.client("room", 0, at="a")
    cluster.client("room", 1, at="e")


def owners(net):
    return {instance: net.wait_everywhere("room", instance)["node"] for instance in range(ROOMS)}


def served(net, more=3):
    for client in net.clients[:ROOMS]:
        client.acks(more, timeout=15)


def test_every_link_of_two_nodes_is_bad(net):
    """Each of them is heard by two others: nobody is dead, and a drain gets round the cuts."""
    net.bed.split([1], [2])
    net.bed.split([4], [5])
    net.bed.lose(3, 10)
    before = owners(net)
    net.hold(lambda: owners(net) == before, 3, lambda: f"{before} {owners(net)}")
    served(net)
    net.recover()
    assert owners(net) == before
    net.verify()


def test_a_node_joins_that_one_cannot_reach(net):
    """It leaves in order and comes back: what belongs on it moves there, from a after the cut."""
    e = net.nodes["e"]
    assert e.ctl("drain").returncode == 0
    e.stop()
    net.wait_members()
    net.bed.cut(1, 5)
    net.bed.lose(2, 10)
    e.start()
    net.wait_state("e", "alive", "bcde")
    assert e.ctl("undrain").returncode == 0
    harness.wait(lambda: "e" in {e.child("room", i)["node"] for i in range(ROOMS)}, "moves to e")
    served(net)
    assert not [x for node in net.live for x in node.events("node_dead") if x["peer"] == "a"]
    net.recover()
    assert "e" in owners(net).values()
    net.verify()


@pytest.mark.parametrize("sides", [("abc", "de"), ("ab", "cd", "e")], ids="-".join)
def test_a_split(net, sides):
    """Each side goes on with all children, and after it there is one of each, with its history."""
    exceptions = [net.allow("divergence", "the network was split"),
                  net.allow("loss", "split; of several copies one goes on")]
    net.bed.split(*([ord(n) - ord("a") + 1 for n in side] for side in sides))
    for side in sides:
        for other in set(HOSTS) - set(side):
            net.wait_state(other, "dead", side)
        for name in side:
            for instance in range(ROOMS):
                net.nodes[name].wait_running("room", instance, node=lambda n: n in side)
    served(net)
    net.recover()
    for exception in exceptions:
        exception.end()
    assert set(owners(net).values()) <= set(HOSTS)
    net.verify()


def test_a_node_drains_while_it_is_cut_from_one(net):
    """What placement wants on the one beyond the cut goes to the next, and the drain ends."""
    net.bed.cut(1, 2)
    a = net.nodes["a"]
    harness.wait(lambda: net.seen("a", "b") == "suspect", "a notices")
    assert a.ctl("drain", "--no-wait").returncode == 0
    harness.wait(lambda: "a" not in {net.nodes["c"].child("room", i)["node"]
                                     for i in range(ROOMS)}, "all have gone elsewhere", 20)
    served(net)
    # b confirms by way of the others: nobody waits the fifteen seconds for those who do not
    done = harness.wait(lambda: all(m["result"] != "running" for m in a.migrations()) and
                        a.migrations(), "the old ones have ended", 8)
    assert not [m for m in done if "confirmed" in (m["reason"] or "")], done
    net.bed.heal()
    net.wait_members()
    assert a.ctl("undrain").returncode == 0
    harness.wait(lambda: not any(n["draining"] for n in a.status()["nodes"]), "undrained")
    net.recover()
    net.verify()


def test_a_node_is_lost_while_others_move_and_frames_are_lost(net):
    """e dies in the middle of a drain of d, and comes back."""
    exceptions = [net.allow("divergence", "e was lost, and may have been moving")]
    for instance in [i for i, node in owners(net).items() if node in "de"]:
        exceptions.append(net.allow("loss", "e had the only state", instance=instance))
        exceptions[-1].since = 0
    net.bed.lose(2, 10)
    d, e = net.nodes["d"], net.nodes["e"]
    assert d.ctl("drain", "--no-wait").returncode == 0
    harness.wait(lambda: any(m["result"] == "running" for m in d.migrations()) or
                 "d" not in owners(net).values(), "it begins", pause=0.005)
    e.kill_node()
    seconds = net.wait_state("e", "dead", "abcd")
    print(f"e was lost: seen after {seconds:.2f} s")
    harness.wait(lambda: not {"d", "e"} & set(owners(net).values()), "all have gone on", 20)
    served(net)
    e.start()
    net.recover()
    assert d.ctl("undrain").returncode == 0
    net.recover()
    for exception in exceptions:
        exception.end()
    assert seconds < DETECTED_S, seconds
    net.verify()
