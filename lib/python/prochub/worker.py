"""The worker: connection, session, callbacks."""

import json
import os
import random
import select
import socket
import time

from .handover import Handover
from .wire import check

LINE_MAX = 64 * 1024
OUT_MAX = 256 * 1024
STANDING = {"sending": "sending", "sent": "sending", "freezing": "frozen", "frozen": "frozen",
            "committed": "committed", "loading": "loading", "rejected": "loading",
            "loaded": "loaded"}


class NotSupervised(Exception):
    """PROCHUB_SOCKET is not set: the program was started by hand."""


class Worker(Handover):
    """Override the attributes and the methods of the first part; call those of the second."""

    caps = ()  # of: handover ask rounds redirect role
    format = None  # of the state
    version = 0
    accepts = None  # [(format, min, max)], default: format, 0 to version

    # ---- what happens

    def activate(self, epoch):
        """You own the child from now on; may come again with a higher epoch."""

    def standby(self):
        """Serve nothing, write nothing, claim nothing."""

    def ask(self, node, **about):
        """May the state go to `node`? None: yes; "busy", ("busy", ms), "never", "incompatible"."""

    def estimate(self):
        """The handover begins: about how many bytes will come in all its rounds (None: not
        known)? For people only, who see how far it is."""

    def freeze(self, deadline_ms):
        """Stop changing the state, acknowledge no more updates."""

    def save(self, round, final):
        """The bytes (or an iterable of bytes) of a round: 0 is the whole state, a later one what
        changed since the round before. The same round may be asked for again."""
        return b""

    def resume(self, reason):
        """Called off: go on as if nothing had happened."""

    def committed(self, node, meta, retention_ms):
        """Another one owns it: send the clients there; retention_handled() when done."""

    def conflict(self, node, epoch):
        """After a partition has healed the copy of that node goes on under that epoch: freeze and
        save follow, then stop; the state is kept in a file of this node."""

    def offer(self, node, format, version, **about):
        """A state is coming; raise Reject where it cannot be taken."""

    def load(self, round, piece):
        """A piece of it; the default collects for restore()."""
        self._pieces.append(piece)

    def loaded(self, round, final, size, ok):
        """The round is over: whole (ok: apply it now), or not (forget its pieces)."""
        state, self._pieces = b"".join(self._pieces), []
        if ok:
            self.restore(round, state)

    def restore(self, round, state):
        """The whole round, for those who leave load and loaded as they are."""

    def abort(self, reason):
        """Exit without a trace."""
        self.leave()

    def stop(self, grace_ms, reason):
        """Finish within grace_ms."""
        self.leave()

    def found(self, req, child, instances, more):
        """The answer to lookup(); instances None: no such child. self.stale: the daemon has no word
        from any other node, so what it says may be out of date (in changed() too)."""

    def changed(self, child, instances, more):
        """A registry entry that is watched has changed."""

    def note(self, text):
        """A sentence for the log."""

    # ---- what a worker says

    def __init__(self):
        path = os.environ.get("PROCHUB_SOCKET")
        if not path:
            raise NotSupervised("PROCHUB_SOCKET is not set")
        self._path, self._token = path, os.environ.pop("PROCHUB_TOKEN", "")
        self.child = os.environ.get("PROCHUB_CHILD", "")
        self.node = os.environ.get("PROCHUB_NODE", "")
        self.instance = int(os.environ.get("PROCHUB_INSTANCE") or 0)
        self.epoch = int(os.environ.get("PROCHUB_EPOCH") or 0)
        self.role = os.environ.get("PROCHUB_ROLE") or "standby"
        self.leaving, self.connected, self.frozen, self.stale = False, False, False, False
        self._epoll = select.epoll()
        self._sock, self._retry_at, self._backoff = None, 0.0, 0.05
        self._in, self._out = bytearray(), bytearray()
        self._greeted, self._ready, self._ready_said, self._meta = False, False, False, None
        self._pending, self._req, self._pieces = {}, 0, []
        self._hand, self._last, self._stream = "idle", None, None
        self._id, self._migration_epoch, self._round, self._final = None, 0, 0, False
        self._end, self._max_bytes, self._told_at = None, 0, 0.0

    @property
    def active(self):
        """Owns the child, and is neither frozen nor handed over."""
        return self._greeted and self.role == "active" and not self.frozen

    @property
    def moved(self):
        return self._hand == "committed"

    def ready(self, meta=None):
        """Can serve whenever active; told after each activation and reconnection."""
        self._meta, self._ready, self._ready_said = meta, True, False
        self._owe_ready()
        self._flush()

    def set_meta(self, meta):
        self._meta = meta
        if self._ready_said:
            self._say(op="meta", meta=meta)

    def status(self, text):
        self._say(op="status", text=text)

    def watchdog(self):
        self._say(op="watchdog")

    def retention_handled(self):
        if self._hand == "committed":
            self._answer("retention_handled")

    def lookup(self, child):
        return self._want(op="lookup", child=child)

    def watch(self, child=None, prefix=None):
        which = {"child": child} if child is not None else {"prefix": prefix}
        return self._want(op="watch", **which)

    def unwatch(self, req):
        message = self._pending.pop(req, None)
        if message:
            self._say(**{**message, "op": "unwatch"})

    def leave(self):
        self.leaving = True

    # ---- the loop

    def fileno(self):
        return self._epoll.fileno()

    def timeout(self):
        """Seconds until dispatch() is wanted without the descriptor being ready, or None."""
        if self._sock is None:
            return max(0.0, self._retry_at - time.monotonic())
        if self._stream and self._stream.sock is None and not self._stream.ended:
            return max(0.0, self._stream.retry_at - time.monotonic())
        return None

    def run(self):
        while not self.leaving:
            wait = self.timeout()
            select.select([self], [], [], wait)
            self.dispatch()

    def dispatch(self):
        if self._sock is None and time.monotonic() >= self._retry_at:
            self._connect()
        if self._sock is not None:
            self._read()
        if self._stream and not self._stream.ended:
            self._pump()
        self._flush()

    def close(self):
        self._drop_stream()
        if self._sock is not None:
            self._sock.close()
        self._epoll.close()

    # ---- the control connection

    def _connect(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.setblocking(False)
        try:
            sock.connect(self._path)
        except OSError:
            sock.close()
            return self._plan_retry()
        self._sock = sock
        self._epoll.register(sock, select.EPOLLIN)
        hello = {"op": "hello", "v": [1], "token": self._token, "caps": list(self.caps)}
        if "handover" in self.caps:
            accepts = self.accepts or [(self.format, 0, self.version)]
            hello["state"] = {"format": self.format, "version": self.version,
                              "accepts": [list(a) for a in accepts]}
        if self._greeted:
            hello["standing"] = {"role": self.role, "epoch": self.epoch}
            if self._hand in STANDING:
                hello["standing"]["handover"] = {"id": self._id, "state": STANDING[self._hand]}
        self._out = bytearray(self._line(hello))
        self._flush()

    def _plan_retry(self):
        self._retry_at = time.monotonic() + self._backoff * random.uniform(0.5, 1.0)
        self._backoff = min(2.0, self._backoff * 2)

    def _hang_up(self):
        if self._sock is None:
            return
        self._epoll.unregister(self._sock)
        self._sock.close()
        self._sock, self._in, self._out = None, bytearray(), bytearray()
        if self.connected:
            self._backoff = 0.05
        self.connected = False
        self._plan_retry()
        self._drop_stream()

    @staticmethod
    def _line(message):
        line = json.dumps(message, separators=(",", ":"), ensure_ascii=False) + "\n"
        line = line.encode("utf-8", "replace")
        if len(line) > LINE_MAX:
            raise ValueError("message of more than 64 KiB")
        return line

    def _say(self, **message):
        line = self._line(message)
        if self.connected and len(self._out) + len(line) <= OUT_MAX:
            self._out += line
            self._flush()

    def _flush(self):
        """Never hangs up, so that it may be called inside a callback."""
        while self._sock is not None and self._out:
            try:
                del self._out[:self._sock.send(self._out)]
            except BlockingIOError:
                break
            except OSError:
                self._out.clear()  # the next read sees the end
        if self._sock is not None:
            self._epoll.modify(self._sock, select.EPOLLIN | (select.EPOLLOUT if self._out else 0))

    def _read(self):
        sock = self._sock
        for _ in range(16):
            try:
                piece = sock.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                piece = b""
            if not piece:
                return self._hang_up()
            start = len(self._in)
            self._in += piece
            if b"\n" in piece:
                start = 0
            while (end := self._in.find(b"\n", start)) >= 0 and self._sock is sock:
                line = bytes(self._in[:end])
                del self._in[:end + 1]
                start = 0
                self._take(line)
            if self._sock is not sock:
                return
            if len(self._in) > LINE_MAX:
                self.note("the daemon sent a line that is too long")
                return self._hang_up()

    def _take(self, line):
        try:
            message = json.loads(line)
            known = check(message)
        except (ValueError, RecursionError) as e:
            self._malformed(str(e))
        else:
            if known:
                getattr(self, "_on_" + message["op"])(message)
            elif "req" in message:
                self._say(op="error", re=message["req"], code="unknown_op")

    def _malformed(self, text):
        self.note(text)
        self._say(op="error", code="malformed", text=text)
        self._hang_up()

    # ---- messages that mean the same always

    def _on_welcome(self, m):
        changed = not self._greeted or (self.role, self.epoch) != (m["role"], m["epoch"])
        self.connected = self._greeted = True
        self._ready_said = False
        self.node, self.child, self.instance = m["node"], m["child"], m["instance"]
        if changed and self._hand == "idle":
            self._become(m["role"], m["epoch"])
        self._owe_ready()
        for message in self._pending.values():
            self._say(**message)
        if self._last:
            self._say(**self._last)
        ours = (m.get("migration") or {}).get("id") == self._id
        if ours and self._hand in ("sending", "freezing"):
            self._send(self._round, self._final)

    def _become(self, role, epoch):
        self.role, self.epoch, self._ready_said = role, epoch, False
        if role == "active":
            self.activate(epoch)
            self._owe_ready()
        else:
            self.standby()

    def _owe_ready(self):
        if not (self._ready and self.connected and self.role == "active") or self._ready_said:
            return
        if self._hand != "committed":
            self._ready_said = True
            meta = {} if self._meta is None else {"meta": self._meta}
            self._say(op="ready", **meta)

    def _on_role(self, m):
        if (self.role, self.epoch) != (m["role"], m["epoch"]):
            self._become(m["role"], m["epoch"])

    def _on_ping(self, m):
        self._say(op="pong", re=m["req"])

    def _on_pong(self, m):
        pass

    def _on_stop(self, m):
        self.stop(m["grace_ms"], m.get("reason", ""))

    def _want(self, **message):
        self._req += 1
        message["req"] = self._req
        self._pending[self._req] = message
        self._say(**message)
        return self._req

    def _on_found(self, m):
        if m["re"] in self._pending:
            if not m.get("more"):
                del self._pending[m["re"]]
            self.stale = m.get("stale") is True
            self.found(m["re"], m["child"], m["instances"], bool(m.get("more")))

    def _on_changed(self, m):
        self.stale = m.get("stale") is True
        self.changed(m["child"], m["instances"], bool(m.get("more")))

    def _on_error(self, m):
        asked = self._pending.pop(m.get("re"), None)
        if asked and asked["op"] == "lookup":
            self.stale = False
            self.found(m["re"], asked["child"], None, False)
        else:
            self.note(f"the daemon says {m['code']}: {m.get('text', '')}")
