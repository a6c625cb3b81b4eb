"""The worker protocol between two daemons, word by word: the test is both workers of a handover."""

import json
import pathlib
import threading
import time

import harness
import pytest
from puppets import CLOSED, Puppets

STATE = b"forty-one"


class Handover:
    """room/0 runs on a as `old`; `move()` starts its way to b, where `new` is its new process."""

    def __init__(self, cluster, caps, **options):
        self.puppets = Puppets(cluster, "room")
        self.a = cluster.node("a", {"room": self.puppets.child(**options)}).start(ready=False)
        self.a.wait_up()
        self.old, self.caps = self.puppets.next().up("handover", *caps), caps
        self.a.wait_running("room")
        # b declares nothing, and comes later: the child stays where it is until it is told
        self.b = cluster.node("b", {}).start(ready=False)
        self.b.wait_up()
        cluster.wait_members()
        self.moved = None

    def move(self, *more):
        self.moved = threading.Thread(target=self._move, args=more)
        self.moved.start()

    def _move(self, *more):
        self.result = self.a.ctl("move", "room", "b", *more)

    def ended(self):
        self.moved.join(60)
        return self.result

    def begin(self, accept=None):
        """Up to the old one's accept; the new one has said hello."""
        self.new = self.puppets.next()
        self.new.hello("handover")
        self.start = self.old.control.wait("handover_start")
        self.id = self.start["id"]
        self.old.control.say("handover_accept", id=self.id, **(accept or {}))

    def send(self, state=STATE):
        data = self.old.data(self.id)
        data.socket.sendall(state)
        data.close()
        self.old.control.say("state_end", id=self.id, round=0, bytes=len(state), final=True)

    def load(self):
        told = self.new.control.wait("handover")
        data = self.new.data(self.id)
        got = data.to_the_end()
        end = self.new.control.wait("state_end")
        assert end["bytes"] == len(got)
        self.new.control.say("handover_loaded", id=self.id, round=0, bytes=len(got))
        return told, got

    def carry(self, accept=None):
        """Up to `activate`, which the new one has not answered."""
        self.begin(accept)
        self.send()
        told, got = self.load()
        assert got == STATE
        self.activate = self.new.control.wait("activate")
        return told


@pytest.fixture
def handover(cluster):
    made = []

    def make(*caps, **options):
        made.append(Handover(cluster, caps, **options))
        return made[0]
    yield make
    for one in made:
        one.puppets.close()
        if one.moved:
            one.moved.join(60)


def test_good_case(handover):
    run = handover()
    run.move()
    run.carry()
    assert run.old.control.hear(0.3) is None  # nothing is committed before the new one is ready
    run.new.control.say("ready", meta={"at": "b"})
    committed = run.old.control.wait("committed")
    assert committed["new"] == {"node": "b", "meta": {"at": "b"}}
    assert committed["epoch"] == run.activate["epoch"]
    run.old.control.say("retention_handled", id=run.id)
    run.old.control.wait("stop")
    run.old.strings.close()
    assert run.ended().returncode == 0
    migration, = run.a.migrations("room")
    assert migration["result"] == "done" and migration["downtime_ms"] is not None


def test_no_resume_after_committed(handover):
    """The new one ends before it is ready, seconds after `activate`: the old one goes on."""
    run = handover()
    run.move()
    run.carry()
    assert run.old.control.hear(2.6) is None
    harness.kill(run.new.pid)
    role = run.old.control.wait("role")
    assert role["role"] == "active" and role["epoch"] > run.activate["epoch"]
    resume = run.old.control.wait("resume")
    assert resume["id"] == run.id
    run.old.control.say("resumed", id=run.id)
    assert run.ended().returncode == 1
    migration, = run.a.migrations("room")
    assert migration["result"] == "rolled-back" and migration["downtime_ms"] > 2000
    assert run.a.wait_running("room")["pid"] == run.old.pid


def test_format_is_what_the_old_one_accepts_with(handover):
    run = handover()
    run.move()
    told = run.carry({"format": "f", "version": 1})
    assert (told["format"], told["version"]) == ("f", 1)
    run.new.control.say("ready")
    run.old.control.wait("committed")
    assert run.ended().returncode == 0


def test_format_that_the_new_one_cannot_take(handover):
    run = handover()
    run.move()
    run.begin({"format": "f", "version": 9})
    assert run.new.control.wait("abort")["id"] == run.id
    run.old.control.wait("resume")
    run.old.control.say("resumed", id=run.id)
    result = run.ended()
    assert result.returncode == 1 and "version 9" in result.stderr


def test_welcome_in_retention_is_that_of_a_standby(handover):
    run = handover(migration={**harness.FAST, "retention": "3s"})
    run.move("--no-wait")
    run.carry()
    run.new.control.say("ready")
    run.old.control.wait("committed")
    welcome = run.old.hello("handover", standing={
        "role": "active", "epoch": run.activate["epoch"],
        "handover": {"id": run.id, "state": "committed"}})
    assert welcome["role"] == "standby" and welcome["migration"]["phase"] == "retention"
    assert run.old.control.hear()["op"] == "committed"
    assert run.old.control.is_calm()


@pytest.mark.parametrize("rounds", (False, True))
def test_stop_is_no_resume(handover, rounds):
    run = handover(*(["rounds"] if rounds else []))
    run.move()
    run.begin()
    run.send()
    run.new.control.wait("handover")
    assert run.a.ctl("stop", "room", "--no-wait").returncode == 0
    heard = []
    while (message := run.old.control.hear())["op"] not in ("stop", "(closed)"):
        heard.append(message["op"])
    assert message["op"] == "stop" and "resume" not in heard
    run.old.strings.close()
    harness.wait(lambda: not harness.alive(run.old.pid), "it has ended")
    harness.kill(run.old.pid)
    assert run.a.ctl("stop", "room").returncode == 0
    entry = run.a.wait_child("room", state="stopped")
    assert entry["pid"] is None and run.ended().returncode == 1


def test_budget_holds_for_an_abort_too(handover):
    """Nothing of the new one comes back after the last byte: the old one waits for the budget."""
    run = handover("rounds", migration={**harness.FAST, "downtime": "800ms"})
    run.move()
    run.begin()
    began = time.monotonic()
    run.send()  # the first round says that it is the last one: it has frozen itself
    run.new.control.wait("handover")
    run.old.control.wait("resume")
    assert 0.7 < time.monotonic() - began < 5  # and not for its `timeout`, twice as long
    run.old.control.say("resumed", id=run.id)
    run.a.ctl("stop", "room")


@pytest.mark.parametrize("say, code", (
    (("retention_handled", {}), "too_early"),
    (("state_end", {"round": 3, "bytes": 1, "final": True}), "wrong_round"),
))
def test_illegal_of_the_old_one(handover, say, code):
    run = handover()
    run.move()
    run.begin()
    op, fields = say
    run.old.control.say(op, id=run.id, **fields)
    assert run.old.control.wait("error")["code"] == code
    assert run.old.control.hear() is CLOSED
    run.a.ctl("stop", "room")


@pytest.mark.parametrize("op, fields, code", (
    ("handover_loaded", {"round": 5, "bytes": 9}, "wrong_round"),
    ("ready", {}, "not_active"),
))
def test_illegal_of_the_new_one(handover, op, fields, code):
    run = handover()
    run.move()
    run.begin()
    run.new.control.wait("handover")
    run.new.control.say(op, **({"id": run.id, **fields} if fields else {}))
    assert run.new.control.wait("error")["code"] == code
    run.a.ctl("stop", "room")


def test_never_pins_the_process(handover):
    run = handover("ask")
    run.move()
    ask = run.old.control.wait("handover_ask")
    run.old.control.say("handover_refuse", id=ask["id"], code="never")
    assert run.ended().returncode == 1
    again = run.a.ctl("move", "room", "b")
    assert again.returncode == 1 and "never" in again.stderr
    assert run.old.control.is_calm()  # it was not asked again


def test_busy_is_asked_when_it_said(handover):
    run = handover("ask")
    run.move()
    ask = run.old.control.wait("handover_ask")
    began = time.monotonic()
    run.old.control.say("handover_refuse", id=ask["id"], code="busy", retry_after_ms=2500)
    ask = run.old.control.wait("handover_ask")
    assert time.monotonic() - began >= 2.5
    run.old.control.say("handover_refuse", id=ask["id"], code="never")
    assert run.ended().returncode == 1


def test_outcome_of_a_node_that_leaves(handover):
    run = handover(migration={**harness.FAST, "retention": "5s"})
    run.move("--no-wait")
    run.carry()
    run.new.control.say("ready")
    run.old.control.wait("committed")
    run.a.process.terminate()
    run.old.control.wait("stop")
    run.old.strings.close()
    run.a.process.wait(15)
    run.b.wait_event("node_left")
    assert [m["result"] for m in run.b.migrations("room")] == ["done"]


def test_restarted_source_knows_what_it_had_begun(handover):
    run = handover("rounds")
    run.move("--no-wait")
    run.begin()
    journal = pathlib.Path(run.a.state_dir, "journal")  # nothing else waits for this record
    harness.wait(lambda: run.id.encode() in journal.read_bytes(), "its record is written")
    run.a.kill()
    run.a.start()
    run.old.hello("handover", "rounds")
    for node in (run.a, run.b):
        node.wait_migration("room", "aborted")
    text = run.a.ctl("migrations", run.id, "--json").stdout
    assert json.loads(text)["migrations"][0]["result"] == "aborted"
