"""Children whose words are the test's: each connection of puppet.py, line by line."""

import json
import os
import socket

import harness

PUPPET = os.path.join(harness.HERE, "puppet.py")
CLOSED = {"op": "(closed)"}


class Line:
    """One connection to a worker socket."""

    def __init__(self, s):
        self.socket, self.rest = s, b""

    def say(self, op, **fields):
        self.write(json.dumps({"op": op, **fields}).encode() + b"\n")

    def write(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # what the daemon said before is still to be read

    def hear(self, timeout=5):
        """The next message, CLOSED, or None where there is none in that time."""
        self.socket.settimeout(timeout)
        while b"\n" not in self.rest:
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                return None
            except ConnectionResetError:
                data = b""
            if not data:
                return CLOSED
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return json.loads(line)

    def wait(self, op, timeout=10):
        """That message; others before it are passed over."""
        while (message := self.hear(timeout))["op"] != op:
            assert message is not CLOSED, f"closed before {op}"
        return message

    def is_calm(self):
        """It is open, and nothing was said on it that the answer to a ping does not follow."""
        self.say("ping", req=99)
        return self.hear() == {"op": "pong", "re": 99}

    def to_the_end(self):
        data, self.rest = self.rest, b""
        self.socket.settimeout(5)
        while part := self.socket.recv(65536):
            data += part
        return data

    def close(self):
        self.socket.close()


class Puppet:
    """A process of a child; control is its newest control connection."""

    def __init__(self, strings):
        self.strings, self.control = strings, None
        told = json.loads(strings.makefile("rb").readline())
        self.pid, self.env = told["pid"], told["env"]
        self.token = self.env["PROCHUB_TOKEN"]

    def connect(self):
        self.strings.sendall(b".")
        _, (fd,), _, _ = socket.recv_fds(self.strings, 1, 1)
        return Line(socket.socket(fileno=fd))

    def hello(self, *caps, **fields):
        self.control = self.connect()
        self.control.say("hello", v=[1], token=self.token, caps=list(caps), state={
            "format": "f", "version": 1, "accepts": [["f", 1, 1]]}, **fields)
        return self.control.wait("welcome")

    def up(self, *caps):
        self.hello(*caps)
        self.control.say("ready", meta={})
        return self

    def data(self, id, round=0):
        data = self.connect()
        data.say("data", token=self.token, id=id, round=round)
        return data


class Puppets:
    """Where the processes of one child of a cluster call in."""

    def __init__(self, cluster, name):
        self.path = f"{cluster.dir}/{name}.strings"
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        os.chmod(self.path, 0o777)
        self.server.listen(16)
        self.server.settimeout(10)

    def child(self, **options):
        return {"command": [harness.PYTHON, "-S", "-E", PUPPET, self.path], "ready": "protocol",
                "migration": dict(harness.FAST), **options}

    def next(self):
        return Puppet(self.server.accept()[0])

    def close(self):
        self.server.close()
