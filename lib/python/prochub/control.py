"""Children at run time: a program's side of the control socket."""

import json
import os
import socket
import time

_OWN, _SYSTEM = "/prochub/control.sock", "/run/prochub/control.sock"
_ADD_GRACE_S = 120  # what add takes back is stopped first
_ACCEPT_S = 30      # without waiting: until the daemon has it on its disk


class ControlError(Exception):
    """It was refused, or failed: `code` is a word, `text` a sentence, `answer` what came with them.

    Codes of the daemon: exists, not_found, bad_request, refused, timeout, partly, failed. Those of
    this module: unreachable (nothing was asked), closed and no_answer (it may be done or not).
    """

    def __init__(self, code, text, answer=None):
        super().__init__(f"{code}: {text}")
        self.code, self.text, self.answer = code, text, answer or {}


def _path(given):
    own = os.environ.get("XDG_RUNTIME_DIR")
    if given or os.environ.get("PROCHUB_CONTROL"):
        return given or os.environ["PROCHUB_CONTROL"]
    if os.geteuid() == 0 or not own:
        return _SYSTEM
    return own + _OWN if os.path.exists(own + _OWN) or not os.path.exists(_SYSTEM) else _SYSTEM


class Control:
    """Adds children to the cluster, removes them, waits for them; call() is for any other verb.

    Whoever may use prochubctl may use it. Calls block, up to the seconds that they are given
    (None: as long as it takes). Where the connection was lost the next call makes a new one.
    """

    def __init__(self, path=None):
        self.path, self._socket, self._in, self._req = _path(path), None, b"", 0

    def add(self, config, timeout=None, wait=True, keep_going=False):
        """Adds the children of a text (YAML or JSON) or a dict, as below `children:`; the answer's
        list of them. They are ready then (wait=False: the daemon has them on its disk). All or
        nothing, within `timeout`: what was started is removed again; with keep_going what can be
        added is kept. What exists already with the same options is no error."""
        fields = {"config": config, "no_wait": not wait, "keep_going": keep_going}
        if timeout:
            fields["timeout_ms"] = max(1, int(timeout * 1000))
        patience = timeout + _ADD_GRACE_S if timeout else None
        return self.call("add", patience if wait else _ACCEPT_S, **fields)["children"]

    def remove(self, *children, timeout=None, wait=True):
        """Removes children that were added; nothing of them is left then, on any node."""
        self.call("remove", timeout if wait else timeout or _ACCEPT_S,
                  children=list(children), no_wait=not wait)

    def wait(self, child, state, timeout=None):
        """Until NAME or NAME/INSTANCE is "ready", "stopped" or "moved"."""
        name, _, instance = child.partition("/")
        fields = {"child": name, "for": state}
        if instance:
            fields["instance"] = int(instance)
        if timeout:
            fields["timeout_ms"] = max(1, int(timeout * 1000))
        self.call("wait", timeout + _ACCEPT_S if timeout else None, **fields)

    def call(self, verb, timeout=None, **fields):
        """The answer of a verb, a dict; lines before it, where there are any, are in "lines"."""
        until = time.monotonic() + timeout if timeout else None
        try:
            self._connect()
        except OSError as error:
            self.close()
            raise ControlError("unreachable", f"cannot reach the daemon at {self.path}: "
                               f"{error.strerror}") from error
        try:
            answer = self._ask(verb, fields, until)
        except TimeoutError as error:
            self.close()
            raise ControlError("no_answer", "no answer from the daemon in time; it may go on") \
                from error
        except OSError as error:
            self.close()
            raise ControlError("closed", "the daemon closed the connection before the answer") \
                from error
        except BaseException:
            self.close()  # what comes later is not the answer to something else
            raise
        if not answer.pop("ok"):
            code = answer.get("code", "failed")
            raise ControlError(code, answer.get("text", code), answer)
        return answer

    def close(self):
        """What was asked for goes on."""
        if self._socket:
            self._socket.close()
        self._socket, self._in = None, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- the connection

    def _connect(self):
        if self._socket:  # of a daemon that was restarted since?
            self._socket.settimeout(0)
            try:
                if not self._socket.recv(1, socket.MSG_PEEK):
                    self.close()
            except BlockingIOError:
                return
            except OSError:
                self.close()
        if not self._socket:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(5)
            self._socket.connect(self.path)

    def _ask(self, verb, fields, until):
        self._req += 1
        line = json.dumps({"op": verb, "req": self._req, **fields}).encode() + b"\n"
        self._patience(until)
        try:
            self._socket.sendall(line)
        except (BrokenPipeError, ConnectionResetError):
            pass  # a daemon that refuses and closes has said why
        lines = []
        while True:
            answer = json.loads(self._line(until))
            if answer["re"] not in (0, self._req):
                continue
            more = answer.pop("more", False)
            del answer["re"]
            if not more:
                return {**answer, "lines": lines} if lines else answer
            answer.pop("ok")
            lines.append(answer)

    def _line(self, until):
        pieces = [self._in]
        while b"\n" not in pieces[-1]:
            self._patience(until)
            pieces.append(self._socket.recv(1 << 16))
            if not pieces[-1]:
                raise ConnectionResetError
        line, _, self._in = b"".join(pieces).partition(b"\n")
        return line

    def _patience(self, until):
        left = until - time.monotonic() if until else None
        if left is not None and left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
