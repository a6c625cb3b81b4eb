"""The history checker of the end-to-end tests: good histories pass, no kind of bad one does."""

import json
import os
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import history  # noqa: E402
import netcluster  # noqa: E402
from history import Allowed, History  # noqa: E402


class Tale:
    """Makes the records of a history, each a second after the one before."""

    def __init__(self):
        self.time, self.records = 100.0, []

    def add(self, what, fields):
        self.time += 1
        self.records.append({"what": what, "time": self.time, "child": "room", "instance": 0,
                             **fields})
        return self

    def worker(self, who, what, epoch, **fields):
        """`who` is NODE-PID."""
        node, pid = who.split("-")
        return self.add(what, {"replica": 0, "node": node, "pid": int(pid), "process": who,
                               "epoch": epoch, "role": "active", **fields})

    def active(self, who, epoch):
        return self.worker(who, "active", epoch)

    def update(self, who, epoch, number, acked=True, **fields):
        self.worker(who, "applied", epoch, client="c", number=number)
        if acked:
            self.ack(who, epoch, number, **fields)
        return self

    def ack(self, who, epoch, number, client="c"):
        return self.add("ack", {"client": client, "number": number, "epoch": epoch,
                                "node": who.split("-")[0]})

    def final(self, there, **fields):
        return self.add("final", {"state": {"c": there}, **fields})

    def violations(self, *allowed):
        return History(self.records, allowed).violations()


def moved():
    """A handover from a to b, of which each update is acknowledged."""
    return (Tale().active("a-1", 10).update("a-1", 10, 1).update("a-1", 10, 2)
            .worker("a-1", "frozen", 10).active("b-2", 20).worker("a-1", "moved", 10)
            .update("b-2", 20, 3).worker("b-2", "tick", 20).worker("a-1", "stop", 10))


GOOD = {
    "nothing": Tale(),
    "a handover": moved().final("1-3"),
    "an update that nobody was told of": moved().update("b-2", 20, 4, acked=False).final("1-4"),
    "one acknowledged after the state was found": moved().final("1-3").update("b-2", 20, 4),
    "an aborted handover": (
        Tale().active("a-1", 10).update("a-1", 10, 1).worker("a-1", "frozen", 10)
        .active("a-1", 10).update("a-1", 10, 2).final("1-2")),
    "taken back at a higher epoch": (
        Tale().active("a-1", 10).worker("a-1", "frozen", 10).worker("a-1", "moved", 10)
        .active("b-2", 20).active("a-1", 30).update("a-1", 30, 1).final("1")),
    "restarted on its node": (
        Tale().active("a-1", 10).worker("a-1", "tick", 10).active("a-2", 10)
        .update("a-2", 10, 1).final("1")),
    "killed, and started elsewhere": (
        Tale().active("a-1", 10).worker("a-1", "tick", 10).active("b-2", 20)
        .update("b-2", 20, 1).final("1")),
    "an epoch that grows while it works": (
        Tale().active("a-1", 10).update("a-1", 10, 1).active("a-1", 30).update("a-1", 30, 2)
        .final("1-2")),
    "an answer repeated by the next worker": (
        Tale().active("a-1", 10).update("a-1", 10, 1, acked=False).worker("a-1", "frozen", 10)
        .active("b-2", 20).ack("b-2", 20, 1).final("1")),
}


@pytest.mark.parametrize("tale", GOOD.values(), ids=GOOD.keys())
def test_good_histories(tale):
    assert tale.violations() == []


def two_active():
    return Tale().active("a-1", 10).active("b-2", 20).update("a-1", 10, 1).final("1")


BAD = {
    "two active at a time": (two_active(), "two active at a time"),
    "a tick is as good": (Tale().active("a-1", 10).active("b-2", 20).worker("a-1", "tick", 10),
                          "two active at a time"),
    "the first of three still works": (
        Tale().active("a-1", 10).active("b-2", 20).worker("b-2", "stop", 20).active("c-3", 30)
        .worker("a-1", "tick", 10), "two active at a time: pid 1 on a .* pid 3 on c"),
    "two with one epoch on one node": (
        Tale().active("a-1", 10).active("a-2", 10).worker("a-1", "tick", 10),
        "two active with one epoch"),
    "one epoch on two nodes": (
        Tale().active("a-1", 10).worker("a-1", "stop", 10).active("b-2", 10),
        "one epoch on two nodes"),
    "epochs fall": (Tale().active("a-1", 20).worker("a-1", "stop", 20).active("b-2", 10),
                    "epochs fall"),
    "an update of a frozen one": (
        Tale().active("a-1", 10).worker("a-1", "frozen", 10).update("a-1", 10, 1),
        "applied while it was not active"),
    "an update of one that never began": (Tale().update("b-2", 20, 1),
                                          "applied while it was not active"),
    "lost in a handover": (moved().final("1,3"), r"of c lost: \[2\]"),
    "lost altogether": (moved().final("-"), r"of c lost: \[1, 2, 3\] .* by \['a', 'b'\]"),
    "twice": (moved().final("1-3,2"), r"applied twice: \[2\]"),
    "never sent": (moved().final("1-4"), r"applied by nobody: \[4\]"),
    "an answer out of nothing": (Tale().active("a-1", 10).ack("a-1", 10, 1).final("-"),
                                 "got an answer to 1, which nobody applied"),
    "an answer of the past": (
        Tale().active("a-1", 10).update("a-1", 10, 1, acked=False).active("b-2", 20)
        .update("b-2", 20, 2).ack("a-1", 10, 1).final("1-2"),
        "was answered at epoch 10 after 20"),
    "no state at the end": (moved(), "no state was found"),
}


@pytest.mark.parametrize("tale, what", BAD.values(), ids=BAD.keys())
def test_bad_histories(tale, what):
    found = tale.violations()
    assert any(re.search(what, line) for line in found), found


def test_the_newest_state_counts():
    assert moved().final("1-3").final("1-2").violations()
    assert not moved().final("1-2").final("1-3").violations()


def test_instances_and_replicas_are_apart():
    tale = Tale().active("a-1", 10).worker("b-2", "active", 20, instance=1).worker(
        "c-3", "active", 30, replica=1)
    for who, epoch, more in (("a-1", 10, {}), ("b-2", 20, {"instance": 1}),
                             ("c-3", 30, {"replica": 1})):
        tale.worker(who, "tick", epoch, **more)
    assert not tale.violations()


def test_divergence_is_allowed_while_it_is_declared():
    assert not two_active().violations(Allowed("divergence", "cut off"))
    assert not two_active().violations(Allowed("divergence", "cut off", 101.5, 102.5))
    assert two_active().violations(Allowed("divergence", "too late", 102.5))
    assert two_active().violations(Allowed("divergence", "too early", 0, 101.5))
    assert two_active().violations(Allowed("divergence", "another", child="web"))
    assert two_active().violations(Allowed("divergence", "another", instance=1))
    assert two_active().violations(Allowed("loss", "no such thing"))


def test_one_epoch_twice_is_never_allowed():
    for what in ("two with one epoch on one node", "one epoch on two nodes", "twice"):
        assert BAD[what][0].violations(Allowed("divergence", "all"), Allowed("loss", "all"))


def test_loss_is_allowed_where_it_is_declared():
    tale = moved().final("1,3")  # the second was acknowledged by a at 105
    assert not tale.violations(Allowed("loss", "killed"))
    assert not tale.violations(Allowed("loss", "killed", nodes=["a"], until=105))
    assert tale.violations(Allowed("loss", "killed", nodes=["b"]))
    assert tale.violations(Allowed("loss", "killed", until=104))
    history = History(tale.records, [Allowed("loss", "killed")])
    assert not history.violations() and history.excused == {"loss": 1}


def test_an_exception_has_a_reason():
    with pytest.raises(AssertionError):
        Allowed("loss", "")
    with pytest.raises(AssertionError):
        Allowed("everything", "because")


def test_ranges():
    applied = []
    for number in (1, 2, 3, 7, 9, 10, 9):
        history.put(applied, number)
    assert history.text(applied) == "1-3,7,9-10,9"
    assert history.ranges("1-3,7,9-10,9") == applied
    assert history.numbers("1-3,7,9-10,9") == {1: 1, 2: 1, 3: 1, 7: 1, 9: 2, 10: 1}
    assert history.text([]) == "-" and not history.ranges("-") and not history.numbers("-")


def test_recorder(tmp_path):
    path = tmp_path / "history"
    one = history.Recorder(path, child="room", instance=0, node="a")
    two = history.Recorder(path, child="room", instance=1, node="a")
    one.note("active", epoch=1)
    two.note("active", epoch=2)
    one.tick(epoch=1)  # too soon after the last record to be needed
    with open(path, "a") as f:
        f.write('{"what": "app')
    first, second = history.read(path)
    assert (first["what"], first["instance"], first["pid"]) == ("active", 0, os.getpid())
    assert first["process"] != second["process"] and first["time"] <= second["time"]
    assert history.read(tmp_path / "none") == []


class Net(netcluster.NetCluster):
    """What verify() of the tests of a real network looks at, without a network."""

    def __init__(self, path, tale):
        self.history_path, self.allowed, self.verified = path, [], 0
        by = {what: [r for r in tale.records if r["what"] == what] for what in ("ack", "final")}
        workers = [r for r in tale.records if r["what"] not in by]
        path.write_text("".join(json.dumps(r) + "\n" for r in workers))
        self.finals = by["final"]
        self.clients = [self]
        self.child, self.instance, self.acks_seen = "room", 0, by["ack"]

    def acks(self, more, timeout):
        assert more and timeout

    def state(self, child, instance):
        return next(f for f in self.finals if (f["child"], f["instance"]) == (child, instance))


def test_the_tests_of_a_network_look_at_it(tmp_path):
    """A forged history does not pass there either: of a worker, of a client, of a state."""
    def net(tale):
        return Net(tmp_path / "history", tale)
    good = net(moved().final("1-3"))
    good.verify()
    assert good.verified == 1
    forged = {"two active": moved().final("1-3").worker("a-1", "tick", 10),
              "lost": moved().final("1,3"), "twice": moved().final("1-3,2"),
              "epochs fall": moved().final("1-3").active("c-3", 15),
              "answer": moved().final("1-3").ack("b-2", 20, 9),
              "no worker has told": Tale().final("-")}
    for what, tale in forged.items():
        bad = net(tale)
        with pytest.raises(AssertionError):
            bad.verify()
        assert not bad.verified, what
