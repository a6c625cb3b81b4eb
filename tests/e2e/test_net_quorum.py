"""Three hosts with `majority`: never are two active, not even while a living node is held dead.

So no divergence is allowed here. A node that has lost its quorum stops what others may take over,
before they do; what only its workers had goes with them, and that alone may be missing.
"""

import signal

import harness
import pytest
from netcluster import DETECTED_S
from netmoves import (HOSTS, STEPS, by, clients, hold_moves, release, results, served,
                      settle)
from netmoves import children as CHILDREN

# longer than elsewhere: a daemon that is killed has more than a second and a half to come back
CLUSTER = {"migrations_max": 16, "partition": {"strategy": "majority"}, "failure_timeout": "3s"}


def quorum(net, name):
    return net.nodes[name].status()["quorum"]


def processes(net, name):
    return harness.processes_of(f"PROCHUB_SOCKET={net.nodes[name].run_dir}/")


def rest(name):
    return [n for n in HOSTS if n != name]


def alone(net, name, lost, harm, mend):
    """What `name` had is stopped before others start it; they go on with all."""
    exceptions = [net.allow("loss", f"{name} had it, and was fenced", child=child)
                  for child in lost]
    for exception in exceptions:
        exception.since = 0
    keys = [entry[:2] for entry in net.entries()]
    harm()
    release(net)
    seconds = net.wait_state(name, "dead", rest(name))
    print(f"{name} alone: seen after {seconds:.2f} s")
    for node in (net.nodes[n] for n in rest(name)):
        for key in keys:
            node.wait_running(*key, node=lambda n: n != name)
    assert not processes(net, name)
    assert all(quorum(net, n) for n in rest(name))
    served(net)
    mend()
    net.recover()
    for exception in exceptions:
        exception.end()
    assert seconds < DETECTED_S + 1, seconds


def owned_by(net, name):
    return {entry[0] for entry in net.entries() if entry[2] == name}


def isolation(net, name):
    return lambda: net.bed.isolate(HOSTS.index(name) + 1), net.bed.heal


def hang(net, name):
    pid = net.nodes[name].process.pid
    return lambda: harness.kill(pid, signal.SIGSTOP), lambda: harness.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("fault", [isolation, hang])
def test_the_source_is_alone(net, fault):
    hold_moves(net)
    alone(net, "a", [*STEPS, *owned_by(net, "a")], *fault(net, "a"))
    results(net)
    net.verify()


@pytest.mark.parametrize("fault", [isolation, hang])
def test_the_target_is_alone(net, fault):
    """Only what b had told the world that it owns can be lost with it."""
    before = hold_moves(net)
    alone(net, "b", {"sent", "committed"} | owned_by(net, "b") - set(STEPS), *fault(net, "b"))
    results(net)
    for step in ("start", "frozen", "loading"):
        assert net.entry(step)["pid"] == before[step]["pid"], step
    net.verify()


def test_a_link_is_cut(net):
    """One way, from a to b. Each still has a majority: nothing is stopped, nothing is lost."""
    others = by(net)
    hold_moves(net)
    net.bed.cut_one_way(1, 2)
    release(net)
    served(net)
    assert all(quorum(net, name) for name in HOSTS)
    settle(net, others)


def test_nobody_has_a_majority(net):
    """All stop all; when they see each other again, each child is started once."""
    exception = net.allow("loss", "all were fenced")
    exception.since = 0
    net.bed.split([1], [2], [3])
    harness.wait(lambda: not any(processes(net, name) for name in HOSTS), "all have stopped all",
                 20)
    net.hold(lambda: not any(processes(net, name) for name in HOSTS), 1, "nothing starts")
    net.recover()
    exception.end()
    net.verify()


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_daemon_is_killed(net, name):
    """It is back before its lease is over: no worker notices."""
    others = by(net)
    hold_moves(net)
    net.nodes[name].kill()
    net.nodes[name].start()
    settle(net, others)
