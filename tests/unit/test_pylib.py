"""The worker libraries, C and Python, against a daemon that this file plays on a Unix socket."""

import json
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("PROCHUB_BUILD", ROOT / "build" / "release"))
ID = "00112233445566778899aabbccddeeff"
COMMANDS = {
    "c": [str(BUILD / "counter")],
    "python": [sys.executable, str(ROOT / "lib/python/examples/counter.py")],
}
E0, E1, E2 = 1 << 24, 2 << 24, 3 << 24


class Lines:
    """A connection of lines; what follows a line stays readable."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""
        sock.settimeout(10)

    def line(self):
        while b"\n" not in self.buffer:
            piece = self.sock.recv(65536)
            if not piece:
                raise EOFError
            self.buffer += piece
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def get(self, op=None):
        """The next message; with `op` that one must come (progress may come before it)."""
        while True:
            message = json.loads(self.line())
            if op is None or message["op"] == op:
                return message
            assert message["op"] == "progress", message

    def put(self, **message):
        self.sock.sendall(json.dumps(message).encode() + b"\n")

    def rest(self):
        """Everything up to the end of file."""
        pieces = [self.buffer]
        while piece := self.sock.recv(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)


class Daemon:
    """The worker socket, and one worker."""

    def __init__(self, path, kind, *args):
        self.path, self.token = str(path), secrets.token_hex(16)
        self.listen()
        env = dict(os.environ, PROCHUB_SOCKET=self.path, PROCHUB_TOKEN=self.token,
                   PROCHUB_CHILD="room", PROCHUB_INSTANCE="3", PROCHUB_NODE="a",
                   PROCHUB_EPOCH=str(E0), PROCHUB_ROLE="standby",
                   PYTHONPATH=str(ROOT / "lib/python"))
        self.process = subprocess.Popen(COMMANDS[kind] + list(args), env=env)

    def listen(self):
        self.server = socket.socket(socket.AF_UNIX)
        self.server.settimeout(10)
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.server.bind(self.path)
        self.server.listen(16)

    def accept(self, op="hello"):
        lines = Lines(self.server.accept()[0])
        first = lines.get(op)
        assert first["token"] == self.token
        return lines, first

    def welcome(self, role="active", epoch=E0, **more):
        self.control, hello = self.accept()
        self.control.put(op="welcome", v=1, node="a", child="room", instance=3, epoch=epoch,
                         role=role, **more)
        return hello

    def data(self, round_=0):
        lines, first = self.accept("data")
        assert first["id"] == ID and first.get("round", 0) == round_
        return lines

    def put(self, op, **fields):
        self.control.put(op=op, id=ID, **{"epoch": E1, **fields})

    def get(self, op):
        message = self.control.get(op)
        if op.startswith(("handover", "state", "resumed", "retention")):
            assert message["id"] == ID
        return message

    def start(self):
        self.put("handover_start", startup={"ok": True, "node": "b", "instance": 3},
                 mode="exclusive", max_bytes=1 << 30, timeout_ms=30000, downtime_ms=500,
                 rounds_max=8)

    def read_round(self, round_, final):
        state = self.data(round_).rest()
        end = self.get("state_end")
        assert (end.get("round", 0), end["bytes"], end["final"]) == (round_, len(state), final)
        return state

    def offer(self, round_=0, **more):
        self.put("handover", **{"from": "a", "format": "counter", "version": 1,
                                "max_bytes": 1 << 30, "round": round_, **more})

    def close(self):
        self.server.close()
        self.process.kill()
        self.process.wait()


class Client:
    def __init__(self, meta):
        host, port = meta["address"].rsplit(":", 1)
        self.file = socket.create_connection((host, int(port)), 10).makefile("rw", newline="\n")

    def say(self, line):
        self.file.write(line + "\n")
        self.file.flush()
        return self.file.readline().strip()


@pytest.fixture(params=sorted(COMMANDS))
def worker(request, tmp_path):
    made = []

    def make(*args):
        made.append(Daemon(tmp_path / f"worker{len(made)}.sock", request.param, *args))
        return made[-1]

    if not os.path.exists(COMMANDS[request.param][0]):
        pytest.fail(f"{COMMANDS[request.param][0]} is not built: make all")
    yield make
    for daemon in made:
        daemon.close()


def active(daemon):
    hello = daemon.welcome()
    assert "handover" in hello["caps"] and "standing" not in hello
    return Client(daemon.get("ready")["meta"])


def test_whole_handover(worker):
    old, new = worker("--ballast", "3000000"), worker()
    client = active(old)
    assert client.say("inc alice 1") == f"ok 1 {E0}"
    assert client.say("inc alice 1") == f"ok 1 {E0}"
    old.put("handover_ask", target={"node": "b"})
    assert old.get("handover_accept")["format"] == "counter"
    new.welcome("standby", 0)
    old.start()
    estimate = old.get("handover_accept")["bytes_estimate"]
    new.offer()
    first = old.read_round(0, False)
    assert len(first) == len("alice 1 1\n#") + 3000000
    assert len(first) <= estimate <= len(first) + 64  # it is for people
    reader = new.data()
    assert client.say("inc alice 2") == f"ok 2 {E0}"  # it serves while rounds go on
    reader.sock.sendall(first)
    new.put("state_end", round=0, bytes=len(first), final=False)
    reader.sock.close()
    assert new.get("handover_loaded")["bytes"] == len(first)
    old.put("freeze", deadline_ms=500)
    last = old.read_round(1, True)
    assert last == b"alice 2 2\n"
    assert client.say("inc alice 3") == "busy"
    new.offer(1)
    reader = new.data(1)
    reader.sock.sendall(last)
    reader.sock.close()
    new.put("state_end", round=1, bytes=len(last), final=True)
    assert new.get("handover_loaded")["round"] == 1
    new.control.put(op="activate", epoch=E1)
    there = Client(new.get("ready")["meta"])
    old.put("committed", new={"node": "b", "meta": {"address": "x"}}, retention_ms=5000)
    assert there.say("inc alice 3") == f"ok 3 {E1}"
    assert there.say("inc alice 2") == f"ok 3 {E1}"
    assert client.say("get alice") == "moved"
    old.control.put(op="stop", grace_ms=5000, reason="moved")
    assert old.process.wait(10) == 0


def test_next_round_and_resume(worker):
    old = worker()
    client = active(old)
    client.say("inc a 1")
    client.say("inc b 1")
    old.start()
    old.get("handover_accept")
    assert old.read_round(0, False) == b"a 1 1\nb 1 1\n"
    client.say("inc b 2")
    old.put("next_round", round=1)
    assert old.read_round(1, False) == b"b 2 2\n"
    old.put("freeze", deadline_ms=500)
    assert old.read_round(2, True) == b""
    old.put("freeze", deadline_ms=500)  # repeated: answered as before
    assert old.get("state_end")["final"]
    assert client.say("inc b 3") == "busy"
    pid = old.process.pid
    old.put("resume", epoch=E0, reason="target gone")
    old.get("resumed")
    assert client.say("inc b 3") == f"ok 3 {E0}" and old.process.pid == pid
    old.put("resume", epoch=E0, reason="again")
    old.get("resumed")
    old.start()  # and the next attempt gives everything
    old.get("handover_accept")
    assert old.read_round(0, False) == b"a 1 1\nb 3 3\n"


@pytest.mark.parametrize("role_first", [True, False])
def test_resume_under_another_epoch(worker, role_first):
    """Taken back: it never serves under the epoch that it had, by either of the two words."""
    old = worker()
    client = active(old)
    client.say("inc a 1")
    old.start()
    old.get("handover_accept")
    old.read_round(0, False)
    old.put("freeze", deadline_ms=500)
    old.read_round(1, True)
    if role_first:
        old.control.put(op="role", role="active", epoch=E2)
    old.put("resume", epoch=E2, reason="target gone")
    messages = [old.control.get() for _ in range(2)]
    assert {m["op"] for m in messages} == {"ready", "resumed"}  # its address, at that epoch
    assert client.say("inc a 2") == f"ok 2 {E2}"
    old.put("resume", epoch=E0, reason="again")  # one that comes late takes nothing back
    old.get("resumed")
    assert client.say("inc a 3") == f"ok 3 {E2}"


def test_resume_in_mid_stream(worker):
    old = worker("--ballast", "20000000")
    client = active(old)
    old.start()
    old.get("handover_accept")
    data = old.data()
    assert data.sock.recv(1000)
    assert client.say("inc a 1") == f"ok 1 {E0}"  # a full pipe blocks nobody
    old.put("resume", epoch=E0, reason="too slow")
    old.get("resumed")
    data.rest()  # the worker has closed it
    assert client.say("inc a 2") == f"ok 2 {E0}"


def test_early_end_is_no_state(worker):
    new = worker()
    new.welcome("standby", 0)
    new.offer()
    reader = new.data()
    reader.sock.sendall(b"alice 7 7\n")
    reader.sock.close()
    new.offer()  # the daemon tries again: nothing of the first is kept
    new.put("state_end", round=0, bytes=1000, final=True)
    refused = new.get("handover_reject")
    assert refused["code"] == "format"
    new.offer(round_=1)
    reader = new.data(1)
    reader.sock.sendall(b"bob 2 2\n")
    new.put("state_end", round=1, bytes=8, final=True)
    time.sleep(0.05)
    reader.sock.close()
    assert new.get("handover_loaded")["bytes"] == 8
    new.control.put(op="activate", epoch=E1)
    client = Client(new.get("ready")["meta"])
    assert client.say("get alice") == f"ok 0 {E1}"
    assert client.say("get bob") == f"ok 2 {E1}"


def test_abort_and_reject(worker):
    new = worker()
    new.welcome("standby", 0)
    new.offer(format="other")
    assert new.get("handover_reject")["code"] == "format"
    new.put("abort", reason="changed my mind")
    assert new.process.wait(10) in (0, 1)


def test_damaged_filler_is_rejected(worker):
    new = worker()
    new.welcome("standby", 0)
    new.offer()
    reader = new.data()
    reader.sock.sendall(b"alice 1 1\n#0123x56789")
    reader.sock.close()
    new.put("state_end", round=0, bytes=21, final=True)
    assert new.get("handover_reject")["code"] == "format"


def test_reconnects_with_its_standing(worker):
    old = worker()
    client = active(old)
    client.say("inc a 1")
    old.start()
    old.get("handover_accept")
    old.read_round(0, False)
    old.put("freeze", deadline_ms=500)
    old.read_round(1, True)
    old.control.sock.close()
    old.server.close()
    old.listen()  # a restarted daemon
    hello = old.welcome(migration={"id": ID, "epoch": E1, "phase": "freeze"})
    assert hello["standing"] == {"role": "active", "epoch": E0,
                                 "handover": {"id": ID, "state": "frozen"}}
    messages = [old.control.get() for _ in range(2)]
    assert {m["op"] for m in messages} == {"ready", "state_end"}
    assert client.say("inc a 2") == "busy"  # alone it decides nothing
    old.put("resume", epoch=E0, reason="restarted")
    old.get("resumed")
    assert client.say("inc a 2") == f"ok 2 {E0}"


def test_reconnects_in_mid_stream(worker):
    old = worker("--ballast", "20000000")
    active(old)
    old.start()
    old.get("handover_accept")
    old.data().sock.recv(1000)
    old.control.sock.close()
    hello = old.welcome(migration={"id": ID, "epoch": E1, "phase": "copy"})
    assert hello["standing"]["handover"]["state"] == "sending"
    old.control.get("ready")
    assert old.get("handover_accept")["bytes_estimate"] == 20000001
    assert len(old.read_round(0, False)) == 20000001


def test_unknown_and_malformed(worker):
    old = worker()
    active(old)
    old.control.put(op="dance", req=9)
    assert old.control.get("error") == {"op": "error", "re": 9, "code": "unknown_op"}
    old.control.put(op="ping", req=5)
    assert old.control.get("pong")["re"] == 5
    old.control.put(op="ping", req="a b")
    assert old.control.get("pong")["re"] == "a b"
    old.control.sock.sendall(b"{nonsense\n")
    assert old.control.get("error")["code"] == "malformed"
    assert old.welcome()["standing"]["role"] == "active"
    old.control.sock.sendall(b"x" * 70000)
    assert old.welcome()["standing"]["role"] == "active"


def test_stop_and_token(worker):
    old = worker()
    active(old)
    environment = pathlib.Path(f"/proc/{old.process.pid}/environ")
    assert environment.exists()
    old.control.put(op="stop", grace_ms=1000, reason="over")
    assert old.process.wait(10) == 0


@pytest.mark.parametrize("kind", sorted(COMMANDS))
def test_by_hand(kind):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PROCHUB_")}
    env["PYTHONPATH"] = str(ROOT / "lib/python")
    process = subprocess.Popen(COMMANDS[kind], env=env, stdout=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().strip().strip('{}"').split('"')[-1]
        assert Client({"address": address}).say("inc a 1") == "ok 1 0"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


class Played:
    """A Worker of this process, and its daemon on the other side of the socket."""

    def __init__(self, tmp_path, monkeypatch, **methods):
        sys.path.insert(0, str(ROOT / "lib/python"))
        import prochub

        path = str(tmp_path / "w.sock")
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(path)
        self.server.listen(4)
        monkeypatch.setenv("PROCHUB_SOCKET", path)
        monkeypatch.setenv("PROCHUB_TOKEN", "ab" * 16)
        kind = type("Mine", (prochub.Worker,),
                    dict({"caps": ("handover", "ask"), "format": "f", "version": 2}, **methods))
        self.worker = kind()
        assert "PROCHUB_TOKEN" not in os.environ
        self.worker.dispatch()
        self.control = Lines(self.server.accept()[0])
        self.control.get("hello")
        self.tell(op="welcome", v=1, node="a", child="room", instance=0, epoch=E0, role="active")

    def tell(self, **message):
        self.control.put(**message)
        self.worker.dispatch()

    def data(self):
        self.worker.dispatch()
        lines = Lines(self.server.accept()[0])
        lines.get("data")
        return lines


def test_python_lookup_and_watch(tmp_path, monkeypatch):
    seen = []
    played = Played(tmp_path, monkeypatch,
                    found=lambda self, *a: seen.append(("found", *a, self.stale)),
                    changed=lambda self, *a: seen.append(("changed", *a, self.stale)))
    worker = played.worker
    assert worker.active and worker.epoch == E0
    assert (worker.lookup("web"), worker.lookup("none"), worker.watch(prefix="w")) == (1, 2, 3)
    assert played.control.get("lookup") == {"op": "lookup", "child": "web", "req": 1}
    assert played.control.get("lookup")["child"] == "none"
    assert played.control.get("watch") == {"op": "watch", "prefix": "w", "req": 3}
    played.tell(op="found", re=1, child="web", instances=[{}], more=True)
    played.tell(op="found", re=1, child="web", instances=[], stale=True)
    played.tell(op="error", re=2, code="not_found")
    played.tell(op="changed", re=3, child="web", instances=[])
    assert seen == [("found", 1, "web", [{}], True, False), ("found", 1, "web", [], False, True),
                    ("found", 2, "none", None, False, False), ("changed", "web", [], False, False)]
    worker.unwatch(3)
    assert played.control.get("unwatch")["req"] == 3
    worker.close()


def test_python_busy_then_moved(tmp_path, monkeypatch):
    calls = []
    played = Played(tmp_path, monkeypatch,
                    ask=lambda self, node, **about: calls.append(node) or
                    (("busy", 700) if len(calls) == 1 else None),
                    freeze=lambda self, ms: calls.append("freeze"),
                    save=lambda self, round, final: [b"ab", bytearray(b"c")],
                    committed=lambda self, node, meta, ms: calls.append((node, meta, ms)))
    ask = dict(op="handover_ask", id=ID, epoch=E1, target={"node": "b"})
    played.tell(**ask)
    refused = played.control.get("handover_refuse")
    assert (refused["code"], refused["retry_after_ms"]) == ("busy", 700)
    played.tell(**ask)
    played.control.get("handover_accept")
    played.tell(op="handover_start", id=ID, epoch=E1, mode="exclusive", max_bytes=9,
                startup={"ok": True, "node": "b", "instance": 0}, timeout_ms=9, downtime_ms=9,
                rounds_max=1)
    played.control.get("handover_accept")
    assert played.worker.frozen and not played.worker.active
    data = played.data()
    played.worker.dispatch()
    assert data.rest() == b"abc"
    assert played.control.get("state_end")["bytes"] == 3
    played.tell(op="committed", id=ID, epoch=E1, new={"node": "b", "meta": {"a": 1}},
                retention_ms=50)
    played.worker.retention_handled()
    assert played.control.get("retention_handled")["id"] == ID
    assert calls == ["b", "b", "freeze", ("b", {"a": 1}, 50)]
    assert played.worker.moved
    played.tell(op="resume", id=ID, epoch=E1)  # the new one died before it was ready
    played.control.get("resumed")
    assert played.worker.active
    played.worker.close()


def test_python_conflict(tmp_path, monkeypatch):
    """Another copy goes on: it freezes, and what it has goes where the daemon keeps it."""
    calls = []
    played = Played(tmp_path, monkeypatch,
                    conflict=lambda self, node, epoch: calls.append((node, epoch)),
                    freeze=lambda self, ms: calls.append("freeze"),
                    save=lambda self, round, final: calls.append((round, final)) or b"abc")
    conflict = dict(op="conflict", id=ID, epoch=E1, winner={"node": "b", "epoch": E1})
    played.tell(**conflict)
    played.control.get("handover_accept")
    assert played.worker.frozen and not played.worker.active
    data = played.data()
    played.worker.dispatch()
    assert data.rest() == b"abc"
    end = played.control.get("state_end")
    assert end["bytes"] == 3 and end["final"]
    played.tell(**conflict)  # repeated: answered as before
    assert played.control.get("state_end") == end
    assert calls == [("b", E1), "freeze", (0, True)]
    played.worker.close()


@pytest.mark.parametrize("about, told", [(None, None), (0, None), (700, 700), (7.5, 7)])
def test_python_estimate(tmp_path, monkeypatch, about, told):
    played = Played(tmp_path, monkeypatch, estimate=lambda self: about)
    played.tell(op="handover_ask", id=ID, epoch=E1, target={"node": "b"})
    assert "bytes_estimate" not in played.control.get("handover_accept")
    played.tell(op="handover_start", id=ID, epoch=E1, mode="exclusive", max_bytes=9,
                startup={"ok": True, "node": "b", "instance": 0}, timeout_ms=9, downtime_ms=9,
                rounds_max=1)
    assert played.control.get("handover_accept").get("bytes_estimate") == told
    played.worker.close()


@pytest.mark.parametrize("line", [b"[]", b"{}", b"\xff", b'{"op":1}', b'{"op":"freeze"}',
                                  b'{"op":"role","role":"active","epoch":"1"}',
                                  b'{"op":"stop","grace_ms":true}', b"[" * 60000])
def test_python_malformed(tmp_path, monkeypatch, line):
    played = Played(tmp_path, monkeypatch)
    played.control.sock.sendall(line + b"\n")
    played.worker.dispatch()
    assert played.control.get("error")["code"] == "malformed"
    assert played.control.rest() == b"" and not played.worker.connected
    played.worker.close()
