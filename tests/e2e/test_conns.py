"""Connections to worker.sock that do wrong: who is told, and what goes on."""

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
    assert told is CLOSED if kind.startswith("data") else told["code"] == code
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
