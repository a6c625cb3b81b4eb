"""Moves from a to b on hosts of their own, each held in another phase until the test lets it go."""

import harness
from netcluster import room
from raw import faults

HOSTS = ("a", "b", "c")
# children, and where their moves stand still; the first four in the old worker
STEPS = {"start": "start", "frozen": "data", "sent": "sent", "committed": "committed",
         "loading": "loading", "loaded": "loaded", "activate": "activate"}
SECOND = ("loaded",)  # of the last delta, not of the first round
# A budget that a silent cut does not use up: what misses it is tried again, and ten seconds later.
SLOW = {"downtime": "5s", "timeout": "5s", "retention": "200ms"}


def children(cluster):
    caps = {"frozen": ["--caps", "handover,ask"]}  # it stops as soon as it begins to send
    return {**{step: room(cluster, step, "--ballast", "300000", *caps.get(step, ()),
                          migration=SLOW, stop_timeout="4s") for step in STEPS},
            "by": room(cluster, "by", instances=3)}


def clients(cluster):
    for step in STEPS:
        cluster.client(step)
    for instance in range(3):
        cluster.client("by", instance)


def home(net):
    """All to a, for whom nobody is suspect: to one who is nothing is moved."""
    a = net.nodes["a"]

    def there():
        if any(n["state"] != "alive" for n in a.status()["nodes"]):
            return False
        away = [step for step in STEPS if net.entry(step)["node"] != "a"]
        for step in away:
            a.ctl("move", step, "a", "--no-wait")
        return not away and not any(m["result"] == "running" for m in a.migrations())
    harness.wait(there, lambda: f"all on a: {net.entries()}", 20, pause=0.2)
    return {step: net.wait_everywhere(step, node="a") for step in STEPS}


def hold_moves(net, steps=STEPS):
    """Moves to b that stand still, each in its phase; the entries before."""
    before = home(net)
    net.past = {m["id"] for node in net.live for m in node.migrations()}
    a, since = net.nodes["a"], {step: len(faults(net, step).log()) for step in steps}
    for step in steps:
        faults(net, step).set("stall@final" if step in SECOND else f"stall@{STEPS[step]}")
        done = a.ctl("move", step, "b", "--no-wait")
        assert done.returncode == 0, (done, a.log())
    for step in steps:
        if step in SECOND:
            faults(net, step).wait("final", since=since[step])
            faults(net, step).set(f"stall@{step}")
            faults(net, step).wait(step, since=since[step], count=2)
        else:
            faults(net, step).wait(STEPS[step], since=since[step])
    return before


def release(net, steps=STEPS):
    for step in steps:
        faults(net, step).clear()


def results(net):
    """All nodes come to say the same of each move that there was since hold_moves()."""
    def told():
        found = {}
        for node in net.live:
            for m in node.migrations():
                if m["id"] not in net.past:
                    found.setdefault(m["id"], {})[node.name] = (m["child"], m["result"])
        return found
    harness.wait(lambda: all(len(set(said.values())) == 1 for said in told().values()),
                 lambda: f"one result of each: {told()}")


def served(net):
    for client in net.clients:
        client.acks(3, timeout=15)


def settle(net, others):
    """The moves go on, the fault ends: all is right, and the bystanders `others` are untouched."""
    release(net)
    served(net)
    net.recover()
    results(net)
    assert by(net) == others
    net.verify()


def by(net):
    return [entry for entry in net.entries() if entry[0] == "by"]
