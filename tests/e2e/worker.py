#!/usr/bin/python3
"""A counting worker written from PROTOCOL.md alone, without our library, that can misbehave.

Serves "inc CLIENT SEQ" and "get CLIENT" on a TCP port like the examples, and "dump" for the whole
state; with --history it writes down what history.py checks. What it does wrong stands
in the file --faults, one word a line, read anew at each step; what it went through it appends to
FILE.log ("PID INSTANCE WORD"). Words: die@STEP, stall@STEP (as long as the word stands there),
bad_line@STEP, long_line@STEP, drop@STEP (closes the control connection), and those in FAULTS below.
Steps of the old worker: ask start data state_end next_round freeze final sent resume committed
conflict; of the new one: connect hello handover load loading loaded activate; of both: stop.
"""

import argparse
import json
import os
import signal
import socket
import sys
import threading
import time

sys.dont_write_bytecode = True

import history  # noqa: E402

FAULTS = ("refuse_busy", "refuse_never", "refuse_incompatible", "reject_format", "wrong_token",
          "wrong_bytes", "early_close", "no_data", "wrong_loaded", "wrong_digest", "ignore_stop",
          "two_hellos", "illegal", "late_ready")
ENV = os.environ
PATTERN = b"0123456789abcdef" * 4096


def own_address(network):
    """This host's address in the network of that other address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((network, 9))
        return s.getsockname()[0]


def open_history(path):
    return path and history.Recorder(
        path, child=ENV["PROCHUB_CHILD"], instance=int(ENV["PROCHUB_INSTANCE"]),
        replica=int(ENV["PROCHUB_REPLICA"]), node=ENV["PROCHUB_NODE"])


class Gone(Exception):
    """The control connection has ended."""


class Worker:
    def __init__(self, args):
        self.args = args
        self.role, self.epoch = ENV["PROCHUB_ROLE"], int(ENV["PROCHUB_EPOCH"])
        self.frozen = self.moved = self.leaving = False
        self.recorder = open_history(args.history)
        self.counts, self.dirty, self.ballast = {}, set(), args.ballast
        self.round, self.handover, self.unanswered = 0, None, None
        self.given = None, []  # (id, round) of what was read last to be sent, and its pieces
        self.lock = threading.Lock()
        self.server = socket.socket()
        self.server.bind((own_address(args.network), 0))
        self.server.listen(64)
        self.meta = {"address": "%s:%d" % self.server.getsockname(), "pid": os.getpid()}
        self.control = self.lines = None

    # ---- faults

    def faults(self):
        try:
            with open(self.args.faults) as f:
                return f.read().split()
        except OSError:
            return []

    def note(self, word):
        with open(self.args.faults + ".log", "a") as f:
            f.write(f"{os.getpid()} {ENV['PROCHUB_INSTANCE']} {word}\n")

    def step(self, name):
        self.note(name)
        for fault in self.faults():
            what, _, where = fault.partition("@")
            if where != name:
                continue
            if what == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            while what == "stall" and fault in self.faults():
                time.sleep(0.02)
            if what == "bad_line":
                self.raw(b'{"op":"status","text":\n')
            if what == "long_line":
                self.raw(b'{"op":"status","text":"' + b"x" * 70000 + b'"}\n')
            if what == "drop":
                self.control.shutdown(socket.SHUT_RDWR)
                raise Gone

    # ---- what history.py reads

    def serving(self):
        return self.role == "active" and not (self.frozen or self.moved or self.leaving)

    def record(self, what, **fields):
        """With the lock held, so that the records stand in the order of what they tell of."""
        if self.recorder:
            self.recorder.note(what, epoch=self.epoch, role=self.role, **fields)

    def begin_serving(self):
        """With the lock held; also where the epoch alone is new."""
        if self.serving():
            self.record("active")

    def cease(self, what, **state):
        """Sets these attributes, and serves no longer."""
        with self.lock:
            was = self.serving()
            self.__dict__.update(state)
            if was:
                self.record(what)

    def tick(self):
        while True:
            with self.lock:
                if self.serving():
                    self.recorder.tick(epoch=self.epoch)
            time.sleep(0.05)

    # ---- the control connection

    def raw(self, data):
        try:
            self.control.sendall(data)
        except OSError:
            raise Gone from None

    def say(self, op, **fields):
        self.raw(json.dumps({"op": op, **fields}).encode() + b"\n")

    def answer(self, op, **fields):
        """A message of the migration: said again after a reconnect, unless the daemon went on."""
        fields = {"id": self.handover["id"], "epoch": self.handover["epoch"], **fields}
        self.unanswered = (op, fields)
        self.say(op, **fields)

    def connect(self):
        while True:
            self.control = socket.socket(socket.AF_UNIX)
            try:
                self.control.connect(ENV["PROCHUB_SOCKET"])
                break
            except OSError:
                self.control.close()
                time.sleep(0.05)
        self.lines = self.control.makefile("rb")
        a = self.args
        token = "0" * 32 if "wrong_token" in self.faults() else ENV["PROCHUB_TOKEN"]
        hello = {"v": [1], "token": token, "caps": [c for c in a.caps.split(",") if c],
                 "state": {"format": a.format, "version": a.version,
                           "accepts": [[a.format, a.accepts, a.version]]}}
        if self.round or self.handover or self.standing:
            hello["standing"] = {"role": self.role, "epoch": self.epoch}
            if self.handover:
                hello["standing"]["handover"] = {
                    "id": self.handover["id"], "state": self.handover["state"]}
        for _ in range(2 if "two_hellos" in self.faults() else 1):
            self.say("hello", **hello)

    standing = False

    def run(self):
        with self.lock:
            self.begin_serving()
        if self.recorder:
            threading.Thread(target=self.tick, daemon=True).start()
        threading.Thread(target=self.serve, daemon=True).start()
        self.step("connect")
        while not self.leaving:
            try:
                self.connect()
                while not self.leaving:
                    line = self.lines.readline()
                    if not line:
                        raise Gone
                    self.take(json.loads(line))
            except (Gone, OSError):
                self.note("lost")
                self.lines.close()
                self.control.close()
                time.sleep(0.05)

    def take(self, message):
        op = message["op"]
        known = getattr(self, "on_" + op, None)
        if self.handover and message.get("id") == self.handover["id"]:
            self.unanswered = None
        if known:
            known(message)
        elif "req" in message:
            self.say("error", re=message["req"], code="unknown_op")

    def on_welcome(self, m):
        self.step("hello")
        self.standing = True
        role = self.role
        if m["role"] == "active" and not self.handover:
            role = "active"
        self.own(role, m["epoch"])
        if self.unanswered:
            self.say(self.unanswered[0], **self.unanswered[1])
        if self.args.watch:
            self.say("lookup", req=1, child=self.args.watch)
            self.say("watch", req=2, child=self.args.watch)
            self.say("dance", req=3)
            self.say("dance")
        if "illegal" in self.faults():
            self.say("handover_loaded", id="0" * 32, epoch=1, round=0, bytes=0)
        if self.role == "active" and not self.frozen and not self.moved:
            if "late_ready" in self.faults():
                time.sleep(self.args.late)
            self.say("ready", meta=self.meta)

    def on_found(self, m):
        for entry in m.get("instances", []):
            self.note(f"{m['op']}:{entry['node']}" + (":stale" if m.get("stale") else ""))

    on_changed = on_found

    def own(self, role, epoch):
        with self.lock:
            was, news = self.serving(), role != self.role or epoch > self.epoch
            self.role, self.epoch = role, max(self.epoch, epoch)
            if news:
                self.begin_serving()
            if was and not self.serving():
                self.record("frozen")

    def on_role(self, m):
        self.own(m["role"], m["epoch"])

    def on_ping(self, m):
        self.say("pong", re=m.get("req"))

    def on_error(self, m):
        self.note("error:" + str(m.get("code")))

    def on_stop(self, m):
        self.step("stop")
        if "ignore_stop" not in self.faults():
            self.cease("stop", leaving=True)

    # ---- the old worker

    def begin(self, m, state):
        if not self.handover or self.handover["id"] != m["id"]:
            self.handover = {"id": m["id"], "epoch": m["epoch"], "state": state}
            self.round = 0

    def refused(self):
        for code in ("busy", "never", "incompatible"):
            if "refuse_" + code in self.faults():
                self.answer("handover_refuse", code=code, retry_after_ms=1000)
                self.handover = None
                return True
        return False

    def on_handover_ask(self, m):
        self.begin(m, "sending")
        self.step("ask")
        if not self.refused():
            self.answer("handover_accept", format=self.args.format, version=self.args.version)
        self.handover = None

    def on_handover_start(self, m):
        self.begin(m, "sending")
        self.step("start")
        if self.refused():
            return
        rounds = "rounds" in self.args.caps
        if not rounds:
            self.freeze()
        self.answer("handover_accept", format=self.args.format, version=self.args.version,
                    bytes_estimate=self.ballast)
        self.send_state(0, final=not rounds, whole=True)

    def on_conflict(self, m):
        """Another copy goes on, after two sides of the network had one each."""
        self.begin(m, "sending")
        self.step("conflict")
        self.freeze()
        self.answer("handover_accept", format=self.args.format, version=self.args.version,
                    bytes_estimate=self.ballast)
        self.send_state(0, final=True, whole=True)

    def on_next_round(self, m):
        self.step("next_round")
        self.send_state(m["round"], final=False)

    def on_freeze(self, m):
        again = self.handover["state"] == "frozen"
        self.freeze()
        self.step("freeze")
        self.send_state(self.round if again else self.round + 1, final=True)

    def freeze(self):
        self.cease("frozen", frozen=True)
        self.handover["state"] = "frozen"

    def snapshot(self, whole):
        with self.lock:
            clients = list(self.counts) if whole else list(self.dirty)
            self.dirty.clear()
            text = "".join(f"{c} {self.counts[c][0]} {self.counts[c][1]} "
                           f"{history.text(self.counts[c][2])}\n" for c in clients)
        yield text.encode()
        filler = self.ballast if whole else self.args.churn
        if filler:
            yield b"#"
            for at in range(0, filler, len(PATTERN)):
                yield PATTERN[:filler - at]

    def send_state(self, number, final, whole=False):
        self.round = number
        faults, sent = self.faults(), 0
        if "no_data" in faults:
            return
        data = self.data(number)
        try:
            # after a lost connection the same round is asked for again, and is given whole again
            if self.given[0] != (self.handover["id"], number):
                self.given = (self.handover["id"], number), list(self.snapshot(whole))
            parts = self.given[1]
            for i, part in enumerate(parts):
                if i == len(parts) // 2:
                    self.step("data")
                if "early_close" in faults and i == len(parts) - 1:
                    sent += len(part)
                    part = part[:len(part) // 2]
                    sent -= len(part)
                while "trickle" in faults and part:
                    data.sendall(part[:100])
                    sent += len(part[:100])
                    part, faults = part[100:], self.faults()
                    time.sleep(0.05)
                data.sendall(part)
                sent += len(part)
        except OSError:
            self.note("cut")
            return
        finally:
            data.close()
        self.step("final" if final else "state_end")
        self.answer("state_end", round=number, final=final,
                    bytes=sent + (1 if "wrong_bytes" in faults else 0))
        if final:
            self.step("sent")

    def data(self, number):
        data = socket.socket(socket.AF_UNIX)
        data.connect(ENV["PROCHUB_SOCKET"])
        data.sendall(json.dumps({"op": "data", "token": ENV["PROCHUB_TOKEN"],
                                 "id": self.handover["id"], "round": number}).encode() + b"\n")
        return data

    def on_resume(self, m):
        self.step("resume")
        with self.lock:
            # a newer one where the child was taken back from one that ended before it served
            self.epoch = max(self.epoch, m["epoch"])
            self.frozen = self.moved = False
            self.begin_serving()
        self.begin(m, "sending")
        self.answer("resumed")
        self.handover = self.unanswered = None

    def on_committed(self, m):
        self.step("committed")
        self.begin(m, "committed")
        self.handover["state"] = "committed"
        self.cease("moved", moved=True)
        if self.args.handled:
            self.answer("retention_handled")

    # ---- the new worker

    def on_handover(self, m):
        self.begin(m, "loading")
        number = m.get("round", 0)
        self.step("handover")
        if "reject_format" in self.faults():
            self.answer("handover_reject", code="format", text="not mine")
            return
        parts, n = [], 0
        data = self.data(number)
        self.step("load")
        while True:
            part = data.recv(1 << 16)
            if not part:
                break
            if n == 0:
                self.step("loading")
            n += len(part)
            parts.append(part)
        data.close()
        self.incoming = (number, b"".join(parts))
        self.handover["state"] = "loading"

    def on_state_end(self, m):
        number, state = self.incoming
        if number != m.get("round", 0) or len(state) != m["bytes"]:
            self.note("short")
            return
        self.step("loaded")
        lines, mark, filler = state.partition(b"#")
        for line in lines.decode().splitlines():
            client, seq, count, applied = line.split()
            self.counts[client] = [int(seq), int(count), history.ranges(applied)]
        if mark and not number:
            self.ballast = len(filler)
        if mark:
            for at in range(0, len(filler), len(PATTERN)):
                assert PATTERN.startswith(filler[at:at + len(PATTERN)])
        self.handover["state"] = "loaded"
        more = {"digest": "0123456789abcdef"} if "wrong_digest" in self.faults() else {}
        extra = 1 if "wrong_loaded" in self.faults() else 0
        self.answer("handover_loaded", round=number, bytes=len(state) + extra, **more)

    def on_activate(self, m):
        self.step("activate")
        with self.lock:
            self.role, self.epoch = "active", m["epoch"]
            self.begin_serving()
        self.handover = self.unanswered = None
        self.say("ready", meta=self.meta)

    def on_abort(self, m):
        self.note("abort")
        self.handover = None
        if "ignore_stop" not in self.faults():
            self.leaving = True

    # ---- clients

    def serve(self):
        while True:
            connection, _ = self.server.accept()
            threading.Thread(target=self.client, args=(connection,), daemon=True).start()

    def client(self, connection):
        try:
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    connection.sendall(self.reply(line.decode().split()).encode() + b"\n")
        except OSError:
            pass

    def reply(self, words):
        with self.lock:
            if self.moved:
                return "moved"
            if not self.serving():
                return "busy"
            if words[0] == "dump":
                return "ok " + json.dumps({c: history.text(e[2]) for c, e in self.counts.items()})
            entry = self.counts.setdefault(words[1], [0, 0, []])
            if words[0] == "inc" and int(words[2]) > entry[0]:
                number = int(words[2])
                entry[:2] = number, entry[1] + 1
                history.put(entry[2], number)
                self.dirty.add(words[1])
                self.record("applied", client=words[1], number=number)
            return f"ok {entry[1]} {self.epoch} {ENV['PROCHUB_NODE']}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--caps", default="handover,ask,rounds")
    parser.add_argument("--faults", required=True)
    parser.add_argument("--format", default="raw")
    parser.add_argument("--version", type=int, default=1)
    parser.add_argument("--accepts", type=int, default=1)
    parser.add_argument("--ballast", type=int, default=0)
    parser.add_argument("--churn", type=int, default=0)
    parser.add_argument("--watch")
    parser.add_argument("--history")
    parser.add_argument("--network", default="127.0.0.1")
    parser.add_argument("--slow", type=float, default=0)
    parser.add_argument("--late", type=float, default=0)
    parser.add_argument("--handled", action="store_true")
    parser.add_argument("--ignore-term", action="store_true")
    args = parser.parse_args()
    if args.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(args.slow)
    Worker(args).run()


if __name__ == "__main__":
    main()
