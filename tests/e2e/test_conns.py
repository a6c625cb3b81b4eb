"""Connections to worker.sock that do wrong: who is told, and what goes on."""

import time

import harness
import pytest
from puppets import CLOSED, Puppets


@pytest.fixture
def puppets(cluster):
    made = Puppets(cluster, "room")
    yield made
    made.close()


@pytest.fixture
def room(solo, puppets):
    """(node, the only process of its child `room`, connected and ready)"""
    node = solo({"room": puppets.child()})
    puppet = puppets.next().up()
    node.wait_running("room")
    yield node, puppet
    assert harness.alive(puppet.pid) and puppet.control.is_calm()
    assert node.child("room")["restarts"] == 0


def violations(node):
    return node.events("worker_protocol_error")


def line(op, **fields):
    return lambda at: at.say(op, **fields)


WRONG = {
    "wrong token": ("bad_token", line("hello", v=[1], token="0" * 32, caps=[])),
    "no JSON": ("malformed", lambda at: at.write(b"hello\n")),
    "no hello": ("protocol", line("status", text="x")),
    "data, wrong token": ("bad_token", line("data", token="0" * 32, id="ab" * 16)),
    "data, no id": ("malformed", line("data", token="0" * 32)),
}


@pytest.mark.parametrize("kind", WRONG)
def test_event_names_the_child_whose_process_did_wrong(room, kind):
    node, puppet = room
    code, say = WRONG[kind]
    at = puppet.connect()
    say(at)
    told = at.hear()
    if kind.startswith("data"):
        assert told is CLOSED
        told = puppet.control.hear()
    assert told["code"] == code
    event, = violations(node)
    assert (event["child"], event["instance"]) == ("room", 0)
    assert event["text"].startswith(code + ": ")


def stranger(node):
    at = harness.Control(node.run_dir + "/worker.sock")
    at.send("hello", v=[1], token="0" * 32, caps=[])
    assert at.read()["code"] == "bad_token"
    at.close()


def test_event_of_a_stranger(room):
    node, _ = room
    stranger(node)
    event, = violations(node)
    assert "child" not in event and "bad_token" in event["text"] and "pid" in event["text"]


def test_flood_of_strangers_fills_no_ring_and_hides_no_child(room):
    node, puppet = room
    for _ in range(200):
        stranger(node)
    at = puppet.connect()
    at.say("status", text="x")
    at.wait("error")
    assert [e["child"] for e in violations(node) if "child" in e] == ["room"]
    assert len(violations(node)) < 100

    def counted():
        stranger(node)
        return "not told" in violations(node)[-1]["text"]
    harness.wait(counted, "the next one says how many were not told", pause=0.3)


@pytest.mark.parametrize("req", [7, -7, 1.5, "abc", "\u00e4\n"])
def test_req_comes_back_as_it_was(room, req):
    node, puppet = room
    control = puppet.control
    control.say("frobnicate", req=req)
    assert control.hear() == {"op": "error", "re": req, "code": "unknown_op"}
    control.say("ping", req=req)
    assert control.hear() == {"op": "pong", "re": req}
    control.say("lookup", req=req, child="nobody")
    told = control.hear()
    assert (told["op"], told["re"], told["code"]) == ("error", req, "not_found")
    control.say("watch", req=req, child="room")
    assert control.hear()["re"] == req
    assert not violations(node)


def test_req_that_is_none(room):
    node, puppet = room
    puppet.control.say("frobnicate", req=["abc"])
    assert puppet.control.wait("error")["code"] == "malformed"
    assert puppet.control.hear() is CLOSED
    puppet.up()


def test_status_is_told_to_people(room):
    node, puppet = room
    puppet.control.say("status", text="half done\nprochubd: error: forged")
    for i in range(1000):
        puppet.control.say("status", text=f"step {i}")
    puppet.control.say("ping", req=1)
    assert puppet.control.wait("pong")["re"] == 1
    harness.wait(lambda: "room/0: half done" in node.whole_log(), "what it said")
    told = node.whole_log().splitlines()
    assert not any(x.startswith("prochubd: error") for x in told)
    assert len([x for x in told if "info: room/0: step" in x]) < 100


# ---- data connections

NO_ID = "ab" * 16


def refused(data, puppet, code):
    """Closed at once without a word; the control connection says why, and goes on."""
    start = time.monotonic()
    assert data.hear() is CLOSED
    told = puppet.control.hear()
    assert time.monotonic() - start < 3
    assert (told["op"], told["code"]) == ("error", code) and told["text"]
    assert "re" not in told and puppet.control.is_calm()


def test_data_of_no_migration(room):
    node, puppet = room
    refused(puppet.data(NO_ID), puppet, "unknown_id")
    event, = violations(node)
    assert event["child"] == "room" and NO_ID in event["text"]


@pytest.mark.parametrize("first", ["data", "hello"])
def test_data_around_the_hello_after_a_restart(room, first):
    """Whether it waits for the hello or not, it is closed soon and harms nobody."""
    node, puppet = room
    node.kill()
    node.start()
    data = puppet.data(NO_ID) if first == "data" else None
    puppet.up()
    data = data or puppet.data(NO_ID)
    assert data.hear() is CLOSED
    assert puppet.control.hear()["code"] == "unknown_id"
    assert len(violations(node)) == (0 if first == "data" else 1)


class Pair:
    """A move of `room` between two nodes, whose old and new worker are puppets."""

    def __init__(self, cluster, puppets, caps):
        cluster.start("a", "b", children={"room": puppets.child()})
        self.puppets, self.caps = puppets, caps
        self.old = puppets.next().up(*caps)
        entry = cluster.wait_everywhere("room")
        self.source = cluster.nodes[entry["node"]]
        self.target = next(n for n in cluster.live if n is not self.source)
        self.orders = self.source.control()
        self.orders.send("move", child="room", node=self.target.name)

    def start_new(self):
        self.new = self.puppets.next()
        self.new.hello(*self.caps)

    def begin(self):
        """Up to handover_start; the id of the migration."""
        self.start_new()
        return self.old.control.wait("handover_start")["id"]

    def accept(self, id):
        self.old.control.say("handover_accept", id=id, format="f", version=1)

    def finish(self, id, state):
        """The old worker has sent its state."""
        self.old.control.say("state_end", id=id, bytes=len(state), final=True)
        self.new.control.wait("handover")
        assert self.new.data(id).to_the_end() == state
        self.new.control.wait("state_end")
        self.new.control.say("handover_loaded", id=id, bytes=len(state))
        self.new.control.wait("activate")
        self.new.control.say("ready", meta={})
        self.old.control.wait("committed")
        assert self.source.wait_migration("room")["result"] == "done"


def test_wrong_data_connections_of_a_handover_do_not_end_it(cluster, puppets):
    pair = Pair(cluster, puppets, ["handover"])
    id = pair.begin()
    pair.accept(id)
    refused(pair.old.data(NO_ID), pair.old, "unknown_id")
    refused(pair.old.data(id, 3), pair.old, "bad_round")
    assert len(violations(pair.source)) == 2
    data = pair.old.data(id)
    data.write(b"state")
    refused(pair.old.data(id), pair.old, "bad_round")  # the second one
    data.close()
    pair.finish(id, b"state")
    refused(pair.new.data(id), pair.new, "unknown_id")  # late
    assert len(violations(pair.source)) == 2 and not violations(pair.target)


def test_data_connection_that_is_later_than_the_abort(cluster, puppets):
    pair = Pair(cluster, puppets, ["handover"])
    id = pair.begin()
    pair.accept(id)
    pair.new.control.wait("handover")
    pair.new.control.say("handover_reject", id=id, code="format", text="x")
    pair.old.control.wait("resume")
    pair.old.control.say("resumed", id=id)
    refused(pair.old.data(id), pair.old, "unknown_id")
    assert not violations(pair.source)
    assert pair.source.wait_migration("room")["result"] == "aborted"
    assert pair.source.child("room")["pid"] == pair.old.pid


def test_data_connection_that_is_earlier_than_the_stream(cluster, puppets):
    """The worker said yes to handover_ask, and does not wait for handover_start."""
    pair = Pair(cluster, puppets, ["handover", "ask"])
    id = pair.old.control.wait("handover_ask")["id"]
    pair.accept(id)
    data = pair.old.data(id)
    data.write(b"state")
    data.close()
    pair.start_new()
    pair.old.control.wait("handover_start")
    pair.accept(id)
    pair.finish(id, b"state")
    assert not violations(pair.source)
