"""Three hosts, faults of the network and of processes while nothing is being moved.

What happens between two hosts that a third one sees is nobody's death, and no worker's business.
Whoever is alone is dead to the others after failure_timeout; afterwards each child has one worker.
"""

import signal

import harness
from netcluster import DETECTED_S, FAILURE_S, room

HOSTS = ("a", "b", "c")
CLUSTER = {"orphans": "keep"}  # what a fence does is seen in test_net_quorum.py
QUIET_S = FAILURE_S + 1  # for so long a fault must do nothing


def CHILDREN(cluster):
    return {"room": room(cluster, "room", instances=6)}


def clients(cluster):
    for instance in range(6):
        cluster.client("room", instance)
    for name in HOSTS:
        cluster.client("room", ord(name) - ord("a"), at=name)


def of_node(cluster, name):
    return [e[1] for e in cluster.entries() if e[2] == name]


def nobody_is_dead(cluster):
    return not any(n["state"] == "dead" for node in cluster.live for n in node.status()["nodes"])


# ---- what harms nobody

def test_a_link_that_is_cut_one_way_is_no_death(net):
    """And all that the third one hears and says comes late."""
    before = net.entries()
    net.bed.cut_one_way(1, 2)
    net.bed.delay(3, 50)
    net.hold(lambda: net.is_untouched(before) and nobody_is_dead(net), QUIET_S,
             lambda: f"{before}\n{net.entries()}\n" + "".join(n.log() for n in net.live))
    for client in net.clients[:6]:
        client.acks(5)
    net.recover()
    assert net.is_untouched(before)
    net.verify()


def test_a_daemon_is_killed_and_comes_back(net):
    before = net.entries()
    net.nodes["b"].kill()
    net.nodes["b"].start()
    net.recover()
    assert net.is_untouched(before)
    assert not net.nodes["a"].events("node_dead")
    net.verify()


def test_workers_are_killed(net):
    """Their state dies with them; their daemons start them again."""
    killed = {e[1]: e for e in net.entries() if e[1] < 3}
    lost = net.allow("loss", "a worker was killed, and its state was nowhere else")
    for entry in killed.values():
        harness.kill(entry[3])
    for instance, (_, _, node, pid, epoch) in killed.items():
        entry = net.wait_everywhere("room", instance, pid=lambda p: p != pid)
        assert (entry["node"], entry["epoch"]) == (node, epoch)
    lost.since = 0
    lost.end()
    net.recover()
    net.verify()


# ---- who is alone

def gone_and_back(net, name, harm, mend, reason, lost):
    """The others hold it dead in time and start what it had; then there is one of each again.

    Where both sides have a copy, the one goes on that was there before; what the other one has
    acknowledged since is lost, and if `lost` all that `name` had.
    """
    others, had = [n for n in HOSTS if n != name], of_node(net, name)
    assert had
    exceptions = [net.allow("divergence", reason)]
    exceptions += [net.allow("loss", reason + ": a second copy", instance=instance,
                             nodes=others if instance in had else [name]) for instance in range(6)]
    for exception in (net.allow("loss", reason, instance=i) for i in had if lost):
        exception.since = 0
        exceptions.append(exception)
    harm()
    seconds = net.wait_state(name, "dead", others)
    print(f"{reason}: seen after {seconds:.2f} s")
    for other in others:
        for instance in had:
            net.nodes[other].wait_running("room", instance, node=lambda n: n in others)
    for client in net.clients[:6]:
        client.acks(5)
    mend()
    net.recover()
    for exception in exceptions:
        exception.end()
    assert seconds < DETECTED_S, seconds
    net.verify()


def test_an_isolated_node(net):
    before = {entry[:4] for entry in net.entries()}
    gone_and_back(net, "b", lambda: net.bed.isolate(2), net.bed.heal, "b was cut off", lost=False)
    assert {entry[:4] for entry in net.entries()} == before


def test_a_hung_daemon(net):
    pid = net.nodes["c"].process.pid
    gone_and_back(net, "c", lambda: harness.kill(pid, signal.SIGSTOP),
                  lambda: harness.kill(pid, signal.SIGCONT), "the daemon of c hung", lost=False)


def test_a_machine_that_is_lost(net):
    gone_and_back(net, "a", net.nodes["a"].kill_node, net.nodes["a"].start, "a was lost", lost=True)
