"""Clients of webserver.py that account for each of their requests."""

import http.client
import json
import os
import threading
import time

import harness

WEB = ["/usr/bin/env", "PYTHONPATH=" + os.path.join(harness.ROOT, "lib", "python"), harness.PYTHON,
       "-S", os.path.join(harness.HERE, "webserver.py")]


def web(port, *args, migration=None, **options):
    return {"command": [*WEB, *args], "ready": "protocol",
            "listen": {"http": f"tcp://127.0.0.1:{port}"},
            "migration": {**harness.FAST, **(migration or {})}, **options}


def get(port, path="/count", method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


class Asking(threading.Thread):
    """POST /add again and again, on one connection or on one each; none may be lost."""

    def __init__(self, port, keep):
        super().__init__(daemon=True)
        self.port, self.keep = port, keep
        self.counts, self.pids, self.lost, self.longest = [], set(), [], 0.0
        self.stopping = threading.Event()
        self.start()

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                connection.request("POST", "/add", headers={} if self.keep else
                                   {"Connection": "close"})
                answer = json.loads(connection.getresponse().read())
                self.counts.append(answer["count"])
                self.pids.add(answer["pid"])
            except (OSError, http.client.HTTPException, ValueError) as e:
                self.lost.append((time.time(), repr(e)))
                connection.close()
            self.longest = max(self.longest, time.monotonic() - began)
            self.stopping.wait(0.002)
        connection.close()


def finish(askings, port):
    """Nobody lost one, and each was counted once: the answers are 1 to their number, in order."""
    for a in askings:
        a.stopping.set()
    for a in askings:
        a.join(60)
        assert not a.lost, a.lost
        assert a.counts == sorted(a.counts)
    counts = sorted(c for a in askings for c in a.counts)
    assert counts == list(range(1, len(counts) + 1)), len(counts)
    assert get(port)["count"] == len(counts)
    return len(counts)
