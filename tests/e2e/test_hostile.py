"""Bad input on every socket: a clear error, and nothing changes."""

import array
import json
import os
import socket
import subprocess
import sys

import harness
import pytest
from raw import faults, raw, sleeper


def CHILDREN(cluster):
    return {"web": sleeper(), "room": raw(cluster, "room")}


@pytest.fixture(scope="module")
def node():
    made = harness.Cluster()
    one = made.node("a", CHILDREN(made), alone=True).start()
    one.wait_running("web"), one.wait_running("room")
    yield one
    made.close(orderly=True)


@pytest.fixture(autouse=True)
def unharmed(node):
    before = {name: node.wait_running(name)["pid"] for name in ("web", "room")}
    yield
    assert node.running
    assert {name: node.wait_running(name)["pid"] for name in before} == before
    assert node.child("room")["restarts"] == 0


def talk(path, data, timeout=8):
    """What is answered to these bytes, until the other end closes."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout)
        s.connect(path)
        try:
            s.sendall(data)
        except BrokenPipeError:
            pass
        answer = b""
        try:
            while part := s.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
        return answer


CONTROL = {
    "no JSON": b"hello\n",
    "half": b'{"op":"status","req":1\n',
    "array": b"[1]\n",
    "text op": b'{"op":1,"req":1}\n',
    "not UTF-8": b'{"op":"\xff","req":1}\n',
    "NUL": b'{"op":"status\0","req":1}\n',
    "twice": b'{"op":"status","op":"stop","req":1}\n',
    "deep": b"[" * 30000 + b"]" * 30000 + b"\n",
    "huge number": b'{"op":"status","req":1e400}\n',
    "over-long": b'{"op":"status","req":1,"x":"' + b"x" * 70000 + b'"}\n',
    "endless": b"x" * 3_000_000,
    "empty": b"\n",
}


@pytest.mark.parametrize("kind", CONTROL)
def test_malformed_lines_on_the_control_socket(node, kind):
    answer = talk(node.control_path, CONTROL[kind])
    for line in answer.splitlines():
        told = json.loads(line)
        assert told["ok"] is False and told["code"] and told["text"]
    if kind not in ("endless", "empty"):
        assert answer


REQUESTS = {
    "unknown verb": {"op": "stauts"},
    "missing child": {"op": "lookup"},
    "bad child": {"op": "lookup", "child": "../x"},
    "number as child": {"op": "stop", "child": 3},
    "negative instance": {"op": "lookup", "child": "web", "instance": -1},
    "instance alone": {"op": "status", "instance": 1},
    "huge instance": {"op": "lookup", "child": "web", "instance": 2**60},
    "unknown child": {"op": "stop", "child": "nix"},
    "unknown instance": {"op": "stop", "child": "web", "instance": 5},
    "unknown node": {"op": "move", "child": "web", "node": "zz"},
    "bad id": {"op": "migrations", "id": "xyz"},
    "later": {"op": "top"},
    "bad for": {"op": "wait", "child": "web", "for": "godot"},
}


@pytest.mark.parametrize("kind", REQUESTS)
def test_wrong_requests_are_refused_and_the_connection_goes_on(node, kind):
    with node.control() as control:
        with pytest.raises(harness.Refused) as refused:
            control.call(**REQUESTS[kind])
        assert refused.value.code and refused.value.text
        if "unknown" in kind and kind != "unknown verb":
            assert refused.value.code == "not_found"
        assert control.call("ping")["ok"]


def test_many_requests_in_flight(node):
    with node.control() as control:
        numbers = [control.send("status") for _ in range(50)]
        assert [control.read()["re"] for _ in numbers] == numbers


def test_many_connections(node):
    held = []
    try:
        for _ in range(300):
            try:
                held.append(harness.Control(node.control_path, 3))
            except OSError:
                break
        assert len(held) > 50
    finally:
        for control in held:
            control.close()

    def answers():
        try:
            return all(node.call("ping")["ok"] for _ in range(20))
        except harness.Refused:
            return None
    harness.wait(answers, "it answers again")


HOLDER = """
import socket, sys, time
held = []
for _ in range(300):
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].connect(sys.argv[1])
    if sys.argv[2]:
        held[-1].sendall(b'{"op":"events","req":1,"follow":true}\\n')
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("follow", ["", "follow"])
def test_operator_gets_in_though_others_hold_all_connections(node, follow):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, node.control_path, follow],
                              stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with node.control() as control:  # stays, while others come
            for _ in range(5):
                told = node.ctl("status", "--json")
                assert told.returncode == 0, told.stderr
                assert control.call("ping")["ok"]
    finally:
        holder.kill()
        holder.communicate()


def test_reader_that_takes_nothing_does_not_hurt(node):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(node.control_path)
        s.setblocking(False)
        try:
            for i in range(20000):
                s.send(b'{"op":"status","req":%d}\n' % i)
        except BlockingIOError:
            pass
        for _ in range(20):
            assert node.call("status", timeout=2)["ok"]


WORKER = {
    "no JSON": b"hello\n",
    "no hello": b'{"op":"ready","meta":{}}\n',
    "wrong token": b'{"op":"hello","v":[1],"token":"' + b"0" * 32 + b'","caps":[]}\n',
    "no token": b'{"op":"hello","v":[1],"caps":[]}\n',
    "other version": b'{"op":"hello","v":[99],"token":"' + b"0" * 32 + b'","caps":[]}\n',
    "data, wrong token": b'{"op":"data","token":"' + b"0" * 32 + b'","id":"' + b"0" * 32 +
                         b'","round":0}\nxxxx',
    "daemon's op": b'{"op":"welcome"}\n',
    "over-long": b'{"op":"hello","x":"' + b"x" * 70000 + b'"}\n',
    "endless": b"x" * 3_000_000,
    "not UTF-8": b'{"op":"hello","token":"\xff\xfe"}\n',
}


@pytest.mark.parametrize("kind", WORKER)
def test_malformed_lines_on_the_worker_socket(node, kind):
    answer = talk(node.run_dir + "/worker.sock", WORKER[kind])
    if "data" in kind:
        assert answer == b""
        return
    for line in answer.splitlines():
        told = json.loads(line)
        assert told["op"] == "error" and told["code"] and told["text"]


def test_token_of_another_process(node):
    """The token alone is not enough: the connection comes from another session."""
    with open(f"/proc/{node.child('web')['pid']}/environ") as f:
        env = dict(pair.split("=", 1) for pair in f.read().split("\0") if pair)
    hello = {"op": "hello", "v": [1], "token": env["PROCHUB_TOKEN"], "caps": []}
    answer = talk(node.run_dir + "/worker.sock", json.dumps(hello).encode() + b"\n")
    assert all(json.loads(line)["op"] == "error" for line in answer.splitlines())


def test_silent_connections_do_not_hurt(node):
    held = []
    for path in ("worker.sock", "control.sock"):
        for _ in range(20):
            held.append(socket.socket(socket.AF_UNIX))
            held[-1].connect(f"{node.run_dir}/{path}")
    assert node.call("ping")["ok"]
    for s in held:
        s.close()


def test_datagrams_of_strangers(node):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        for data in (b"READY=1", b"STOPPING=1", b"MAINPID=1", b"WATCHDOG=1", b"", b"\xff" * 4000,
                     b"FDSTORE=1\nFDNAME=x", b"=\n=\n\n"):
            s.sendto(data, node.run_dir + "/notify.sock")
        read, write = os.pipe()
        rights = array.array("i", [write]).tobytes()
        s.sendmsg([b"BARRIER=1"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], 0,
                  node.run_dir + "/notify.sock")
        os.close(write)
        assert os.read(read, 1) == b""  # closed at once
        os.close(read)
    assert node.child("web")["state"] == "running"


def test_bytes_on_the_ports_of_the_cluster(cluster):
    a, b = cluster.start("a", "b", children={"web": sleeper()})
    for port in range(cluster.port, cluster.port + 3):
        for data in (b"", b"GET / HTTP/1.0\r\n\r\n", b"\0SP\0\0\x70\0\0" + b"\xff" * 64,
                     b"\0SP\0\0\x70\0\0" + b"\0" * 7 + b"\x40" + b"x" * 64, b"x" * 100000):
            try:
                with socket.create_connection(("127.0.0.1", port), 2) as s:
                    s.sendall(data)
            except OSError:
                pass
    pid = cluster.wait_everywhere("web")["pid"]
    assert a.call("ping")["ok"] and b.call("ping")["ok"]
    cluster.wait_members()
    assert cluster.wait_everywhere("web")["pid"] == pid
    assert not [e for n in (a, b) for e in n.events("node_dead")]


@pytest.mark.parametrize("words", [
    [], ["stauts"], ["move"], ["move", "web"], ["lookup"], ["--nix", "status"],
    ["wait", "web", "--for=godot"], ["status", "--color=maybe"]], ids=" ".join)
def test_wrong_usage_exits_2(node, words):
    result = node.ctl(*words)
    assert result.returncode == 2 and result.stderr, result


def test_answers_of_the_worker_socket_to_requests(node):
    """An unknown op with `req` is answered; unknown fields and ops without are ignored."""
    steps = faults(node.cluster, "room")
    assert steps.words(node.child("room")["pid"])[:2] == ["connect", "hello"]
    assert not [w for w in steps.words() if w.startswith("error")]
    shown = subprocess.run([harness.CTL, "--socket", node.control_path, "show", "room"],
                           capture_output=True, text=True, timeout=10)
    assert shown.returncode == 0 and "room" in shown.stdout
