"""Three hosts, and faults while children move from a to b: each fault meets moves in many phases.

A worker that stalls holds its move in a phase; the fault comes, the workers are released, and while
the fault lasts, each client is served again. Nothing is lost, and never are two active, unless a
node that lives was held dead; all nodes tell the same of each move.
"""

import signal

import harness
import pytest
from netcluster import DETECTED_S
from netmoves import (HOSTS, STEPS, by, clients, hold_moves, release, results, served,
                      settle)
from netmoves import children as CHILDREN

CLUSTER = {"migrations_max": 16, "orphans": "keep"}


def cut(bed):
    bed.cut(1, 2)


def cut_one_way(bed):
    """And all that the third one hears and says comes late."""
    bed.cut_one_way(2, 1)
    bed.delay(3, 50)


def reject(bed):
    bed.reject(1, 2)


def loss(bed):
    bed.lose(2, 20)


@pytest.mark.parametrize("fault", [cut, cut_one_way, reject, loss])
def test_a_bad_link(net, fault):
    others, before = by(net), hold_moves(net)
    fault(net.bed)
    settle(net, others)
    for step in ("activate", "committed"):  # what is committed goes on
        assert net.entry(step)["pid"] != before[step]["pid"], step


# ---- processes

def test_bus_processes_are_killed(net):
    """And the way to b is a slow one."""
    others = by(net)
    hold_moves(net)
    net.bed.delay(2, 50)
    for node in net.live:
        harness.kill(node.bus_pid())
    settle(net, others)


def test_workers_are_killed(net):
    """The old ones while they have the only state, the new ones before they have served."""
    old, new = ("start", "frozen"), ("loading", "activate")
    before = hold_moves(net)
    lost = [net.allow("loss", "killed with the only state", child=step) for step in old]
    pids = {step: [pid for pid in net.workers(step) if (pid == before[step]["pid"]) ==
                   (step in old)] for step in old + new}
    for step, found in pids.items():
        assert len(found) == 1, (step, found)
        harness.kill(found[0])
    for allowed in lost:
        allowed.since = 0
        allowed.end()
    release(net)
    served(net)
    net.recover()
    results(net)
    assert net.entry("loading")["pid"] == before["loading"]["pid"]
    net.verify()


# ---- who is alone

def alone(net, name, harm, mend, reason):
    before = hold_moves(net)
    rest = [n for n in HOSTS if n != name]
    exceptions = [net.allow("divergence", reason),
                  net.allow("loss", reason + "; of two copies one is given up")]
    harm()
    release(net)
    seconds = net.wait_state(name, "dead", rest)
    print(f"{reason}: seen after {seconds:.2f} s")
    for node in (net.nodes[n] for n in rest):
        for step in STEPS:
            node.wait_running(step, node=lambda n: n in rest)
    served(net)
    mend()
    net.recover()
    for exception in exceptions:
        exception.end()
    assert seconds < DETECTED_S, seconds
    results(net)
    net.verify()
    return before


def test_the_source_is_isolated(net):
    alone(net, "a", lambda: net.bed.isolate(1), net.bed.heal, "a was cut off in its moves")


def test_the_daemon_of_the_target_hangs(net):
    pid = net.nodes["b"].process.pid
    alone(net, "b", lambda: harness.kill(pid, signal.SIGSTOP),
          lambda: harness.kill(pid, signal.SIGCONT), "the daemon of b hung in its moves")
