"""The two sides of a handover, as the part of Worker that follows the protocol."""

import time

from .data import Reader, Sender


class Reject(Exception):
    """Raised by offer, load, loaded or restore: format, version, too_large or no_memory."""

    def __init__(self, code, text=None):
        super().__init__(text or code)
        self.code, self.text = code, text


class Handover:
    """Needs Worker's connection and callbacks."""

    # ---- both sides

    def _begin(self, m, hand):
        self._forget()
        self._id, self._migration_epoch, self._hand = m["id"], m.get("epoch", 0), hand
        self._max_bytes = m.get("max_bytes", 0)

    def _forget(self):
        self._drop_stream()
        self._hand, self._last, self._id, self._end = "idle", None, None, None
        self._round, self._final, self.frozen = 0, False, False

    def _drop_stream(self):
        stream, self._stream = self._stream, None
        if stream:
            stream.close()
            if isinstance(stream, Reader):
                self.loaded(stream.round, False, stream.bytes, False)

    def _answer(self, op, **fields):
        self._last = {"op": op, "id": self._id, "epoch": self._migration_epoch, **fields}
        self._say(**self._last)

    def _repeat(self):
        if self._last:
            self._say(**self._last)

    def _pump(self):
        stream = self._stream
        try:
            if not stream.pump():
                if self._max_bytes and isinstance(stream, Reader) and \
                        stream.bytes > self._max_bytes:
                    self._reject(Reject("too_large"))
                return self._progress(stream)
        except Reject as e:
            return self._reject(e)
        except Exception as e:  # whatever the worker's own code raises gives the handover up
            self.note(f"state of round {stream.round}: {e!r}")
            return self._drop_stream()
        stream.close()
        if isinstance(stream, Sender):
            self._stream = None
            self._hand = "frozen" if self._hand == "freezing" else "sent"
            self._answer("state_end", round=stream.round, bytes=stream.bytes, final=self._final)
        else:
            stream.ended = True
            self._apply()

    def _progress(self, stream):
        now = time.monotonic()
        if isinstance(stream, Sender) and now >= self._told_at and self._stream:
            self._told_at = now + 0.3
            self._say(op="progress", id=self._id, epoch=self._migration_epoch,
                      round=stream.round, bytes=stream.bytes)

    # ---- the old worker

    def _where(self, round):
        return self._path, self._token, self._id, round, self._epoll

    def _send(self, round, final):
        self._drop_stream()
        self._round, self._final = round, final
        self._told_at = time.monotonic() + 0.3
        state = self.save(round, final)
        chunks = [state] if isinstance(state, (bytes, bytearray, memoryview)) else state
        self._stream = Sender(chunks, *self._where(round))

    def _freeze(self, deadline_ms):
        if not self.frozen:
            self.freeze(deadline_ms)
        self.frozen = True

    def _consent(self, m, node):
        """The worker's verdict; False where it was refused."""
        if self._hand not in ("idle", "granted"):
            verdict = "busy"
        elif "handover" not in self.caps:
            verdict = "never"
        else:
            verdict = self.ask(node, epoch=m["epoch"], max_bytes=m.get("max_bytes", 0))
        if verdict is None:
            return True
        code, after = verdict if isinstance(verdict, tuple) else (verdict, 0)
        self._say(op="handover_refuse", id=m["id"], epoch=m["epoch"], code=code,
                  retry_after_ms=after)
        return False

    def _accept(self, begins=False):
        about = self.estimate() if begins else None
        more = {"bytes_estimate": int(about)} if about else {}
        self._answer("handover_accept", format=self.format, version=self.version, **more)

    def _on_handover_ask(self, m):
        if self._hand == "granted" and m["id"] == self._id:
            return self._repeat()
        if self._consent(m, m["target"]["node"]):
            self._begin(m, "granted")
            self._accept()

    def _on_handover_start(self, m):
        same = m["id"] == self._id
        if same and self._hand not in ("idle", "granted"):
            if self._round == 0 and not self._stream and self._hand in ("sending", "freezing"):
                self._accept(begins=True)
                self._send(0, self._final)
            else:
                self._repeat()
            return
        granted = same and self._hand == "granted"
        if not granted and not self._consent(m, m["startup"]["node"]):
            return
        rounds = "rounds" in self.caps
        self._begin(m, "sending" if rounds else "freezing")
        self._accept(begins=True)
        if not rounds:
            self._freeze(m["timeout_ms"])
        self._send(0, not rounds)

    def _on_next_round(self, m):
        if m["id"] != self._id or self._hand not in ("sending", "sent") or m["round"] < self._round:
            return self.note("next_round: ignored")
        if m["round"] == self._round and self._hand == "sent":
            return self._repeat()
        if m["round"] == self._round and self._stream:
            return
        self._last, self._hand = None, "sending"
        self._send(m["round"], False)

    def _on_freeze(self, m):
        if m["id"] != self._id:
            return self.note("freeze: ignored")
        if self._hand == "frozen":
            return self._repeat()
        if self._hand == "freezing" and self._stream:
            return
        if self._hand in ("sending", "sent", "freezing"):
            again = self._hand == "freezing"
            self._freeze(m["deadline_ms"])
            self._last, self._hand = None, "freezing"
            self._send(self._round if again else self._round + 1, True)

    def _on_resume(self, m):
        if m["id"] == self._id:
            self._forget()
            if self.role == "active" and m["epoch"] > self.epoch:
                self._become("active", m["epoch"])  # before it serves
            self.resume(m.get("reason", ""))
        self._say(op="resumed", id=m["id"], epoch=m["epoch"])

    def _on_committed(self, m):
        if self._hand == "committed" or self._id not in (None, m["id"]):
            return
        self._begin(m, "committed")
        self.frozen = True
        self.committed(m["new"]["node"], m["new"].get("meta"), m["retention_ms"])

    def _on_conflict(self, m):
        if self._hand == "committed":
            return
        if m["id"] == self._id:
            return self._repeat()
        frozen = self.frozen
        self._begin(m, "freezing")
        self.frozen = frozen
        self.conflict(m["winner"]["node"], m["winner"]["epoch"])
        self._freeze(0)
        self._accept()
        self._send(0, True)

    # ---- the new worker

    def _on_handover(self, m):
        if self.role == "active" and self._greeted:
            return self.note("handover: ignored while active")
        same = m["id"] == self._id
        if same and m.get("round", 0) == self._round and self._hand != "idle":
            if self._hand != "loading" or self._stream:
                return self._repeat()
        later = same and self._hand == "loaded"
        self._begin(m, "loading")
        self._round = m.get("round", 0)
        try:
            if not later:
                self._check(m)
        except Reject as e:
            return self._reject(e)
        self._stream = Reader(self.load, *self._where(self._round))

    def _check(self, m):
        accepts = self.accepts or [(self.format, 0, self.version)]
        fits = [a for a in accepts if a[0] == m["format"]]
        if not fits:
            raise Reject("format")
        if not any(low <= m["version"] <= high for _, low, high in fits):
            raise Reject("version")
        self.offer(m["from"], m["format"], m["version"], max_bytes=m["max_bytes"],
                   bytes_estimate=m.get("bytes_estimate"))

    def _reject(self, why):
        self._drop_stream()
        self._hand = "rejected"
        text = {"text": why.text} if why.text else {}
        self._answer("handover_reject", code=why.code, **text)

    def _on_state_end(self, m):
        if m["id"] != self._id or m.get("round", 0) != self._round:
            return self.note("state_end: ignored")
        if self._hand != "loading":
            return self._repeat()
        self._end, self._final = m["bytes"], bool(m.get("final"))
        self._apply()

    def _apply(self):
        """Only when the end was announced and exactly so many bytes were read."""
        stream = self._stream
        if not stream or not stream.ended or self._end is None:
            return
        if stream.bytes != self._end:
            return self._reject(Reject("format", "not as many bytes as were announced"))
        self._stream, size, self._end = None, stream.bytes, None
        try:
            self.loaded(self._round, self._final, size, True)
        except Reject as e:
            return self._reject(e)
        except Exception as e:  # a state that the worker cannot read is refused, not fatal
            self.note(f"state of round {self._round}: {e!r}")
            return self._reject(Reject("format", repr(e)))
        self._hand = "loaded"
        self._answer("handover_loaded", round=self._round, bytes=size)

    def _on_activate(self, m):
        if self._hand == "loading" or self._hand == "rejected":
            return self.note("activate: ignored, the state is not here")
        again = self.role == "active" and self.epoch >= m["epoch"]
        self._forget()
        self._ready_said = False
        if again:
            return self._owe_ready()
        self._become("active", m["epoch"])

    def _on_abort(self, m):
        self._forget()
        self.abort(m.get("reason", ""))
