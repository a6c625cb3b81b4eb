"""kill -9 of the daemon and of its bus: the workers do not notice, and none is doubled."""

import json
import os
import signal
import socket

import harness
import pytest
from clients import Client, finish_all
from raw import counter, ends, faults, py_counter, raw, sh, sleeper


def pids_of(node, names):
    return {name: node.wait_running(name)["pid"] for name in names}


def all_ready(node, n):
    """As the state file says, which is up to 100 ms old."""
    with open(node.run_dir + "/state", encoding="utf-8") as file:
        workers = json.load(file)["workers"]
    return len(workers) == n and all(w.get("ready") for w in workers)


def test_same_workers_after_kill_of_the_daemon(solo, cluster):
    names = ("plain", "raw", "c", "py")
    node = solo({"plain": sleeper(), "raw": raw(cluster, "raw"), "c": counter(),
                 "py": py_counter()})
    clients = [Client(cluster, name) for name in names[1:]]
    for client in clients:
        client.acks(10)
    before = pids_of(node, names)
    for _ in range(3):
        harness.wait(lambda: all_ready(node, len(names)), "the state file to say so")
        runs_ms = {name: node.child(name)["since_ms"] for name in names}
        node.kill()
        assert all(harness.alive(pid) for pid in before.values())
        node.start()
        assert pids_of(node, names) == before
        for name, pid in before.items():
            assert cluster.workers(name) == [pid]
            assert node.child(name)["restarts"] == 0
            assert node.child(name)["since_ms"] >= runs_ms[name]
            assert node.lookup(name)[0]["ready"]
        for client in clients:
            client.acks(10)
    epochs = {name: node.child(name)["epoch"] for name in names}
    assert all(client.epoch == epochs[client.child] for client in clients)
    finish_all(clients)
    os.kill(before["plain"], signal.SIGKILL)  # an adopted child is watched as any other
    node.wait_running("plain", pid=lambda p: p != before["plain"])


def test_worker_that_died_meanwhile(solo):
    node = solo({"web": sleeper(), "db": sleeper()})
    before = pids_of(node, ("web", "db"))
    node.kill()
    harness.kill(before["web"])
    harness.wait(lambda: not harness.alive(before["web"]), "it is gone")
    node.start()
    after = node.wait_running("web", pid=lambda p: p != before["web"])
    assert after["restarts"] >= 1 or after["exit"] in (None, {"unknown": True})
    assert pids_of(node, ["db"])["db"] == before["db"]
    node.stop()


def test_configuration_that_changed_meanwhile(solo, cluster):
    node = solo({"same": sleeper(), "gone": sleeper()})
    before = pids_of(node, ("same", "gone"))
    node.kill()
    del node.config["children"]["gone"]
    node.config["children"]["new"] = sleeper()
    node.start()
    pids_of(node, ["new"])
    assert pids_of(node, ["same"])["same"] == before["same"]
    harness.wait(lambda: not harness.alive(before["gone"]), "what nobody wants is stopped")


def test_output_is_not_fatal_to_workers(solo):
    """A worker that writes goes on while no daemon reads."""
    node = solo({"loud": sh("while :; do echo tick; sleep 0.3; done")})
    pid = pids_of(node, ["loud"])["loud"]
    node.kill()
    node.start()
    assert pids_of(node, ["loud"])["loud"] == pid
    assert node.child("loud")["restarts"] == 0


def test_half_started_worker_is_not_doubled(solo, cluster):
    node = solo({"slow": raw(cluster, "slow", "--slow", "1.2"),
                 "stuck": raw(cluster, "stuck", words=["stall@hello"])})
    faults(cluster, "stuck").wait("hello")
    before = {name: cluster.wait_single(name) for name in ("slow", "stuck")}
    node.kill()
    node.start()
    faults(cluster, "stuck").clear()
    for name, pid in before.items():
        assert node.wait_running(name)["pid"] == pid
        assert cluster.workers(name) == [pid]


def test_bus_killed(cluster):
    nodes = cluster.start("a", "b", children={"room": counter(), "web": sleeper()})
    client = Client(cluster, "room")
    client.acks(10)
    before = {name: cluster.wait_everywhere(name)["pid"] for name in ("room", "web")}
    for node in nodes:
        bus = node.bus_pid()
        os.kill(bus, signal.SIGKILL)
        harness.wait(lambda: node.bus_pid() not in (None, bus), "a new bus process")
        node.wait_event("bus_restarted")
    assert {name: cluster.wait_everywhere(name)["pid"] for name in before} == before
    assert not [e for n in nodes for e in n.events("node_dead")]
    source, target = ends(cluster, "room")
    harness.wait(lambda: source.ctl("move", "room", target.name).returncode == 0, "a move", 15)
    client.finish()


@pytest.mark.parametrize("plane", [0, 1, 2], ids=["broadcast", "directed", "stream"])
def test_address_that_cannot_be_bound_yet(cluster, plane):
    """One event for all the tries, one line when it is bound at last."""
    address = f"127.0.0.1:{cluster.port + plane}"
    with socket.create_server(("127.0.0.1", cluster.port + plane)):
        node = cluster.node("a", {"web": sleeper()}).start()
        event = node.wait_event("bind_failed")
        assert event["text"] == f"tcp://{address}: Address already in use; tried again every second"
        node.wait_running("web")
        harness.wait(lambda: harness.age_s(event["time"]) > 2.5, "two more tries")
    line = f"tcp://{address} is bound" if plane == 2 else f"listening on tcp://127.0.0.1:{cluster.port} "
    harness.wait(lambda: line in node.log(), lambda: node.log())
    assert len(node.events("bind_failed")) == 1 and node.log().count(line) == 1
    assert node.log().count("Address already in use") == 1


def test_daemon_killed_in_a_cluster(cluster):
    a, b = cluster.start("a", "b", children={"room": counter(instances=4)})
    clients = [Client(cluster, "room", i) for i in range(4)]
    for client in clients:
        client.acks(10)
    before = [cluster.wait_everywhere("room", i) for i in range(4)]
    for node in (a, b):
        node.kill()
        node.start()
        cluster.wait_members()
        for i in range(4):
            entry = cluster.wait_everywhere("room", i)
            assert (entry["pid"], entry["node"]) == (before[i]["pid"], before[i]["node"])
            assert cluster.workers("room", i) == [before[i]["pid"]]
    finish_all(clients)


@pytest.mark.parametrize("word", ["bad_line@hello", "long_line@hello", "wrong_token", "illegal",
                                  "two_hellos"])
def test_malformed_lines_are_told_and_harm_nobody(solo, cluster, word):
    """The connection is closed, the event says why, the worker goes on and comes back."""
    node = solo({"room": raw(cluster, "room")})
    room = faults(cluster, "room")
    client = Client(cluster, "room")
    client.acks(5)
    pid = node.wait_running("room")["pid"]
    room.set(word)
    node.kill()  # makes the worker say hello again
    node.start()
    if word != "two_hellos":  # of a wrong token the process says whose it was
        event = node.wait_event("worker_protocol_error", child="room")
        assert event.get("text") or event.get("reason"), event
    if word != "two_hellos":
        harness.wait(lambda: [w for w in room.words(pid) if w.startswith("error:")],
                     lambda: f"an error: {room.words(pid)}")
        harness.wait(lambda: room.words(pid).count("lost") >= 2,
                     lambda: f"it was cut off: {room.words(pid)}{node.log()}")
    room.clear()
    assert node.wait_running("room", pid=pid)["restarts"] == 0
    client.acks(5)
    client.finish()
