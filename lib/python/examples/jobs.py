#!/usr/bin/python3
"""A job of its own for each line of standard input, by the control socket alone: no library.

    jobs.py COMMAND < lines

Each line becomes a child of the cluster that runs `COMMAND LINE` once, on whichever node placement
names. It goes on when this program is gone, and when its node is (from its beginning, then); what
has ended is removed. Who may use prochubctl may use the socket.
"""

import json
import os
import socket
import sys
import time
import uuid


class Control:
    """A connection: requests are lines of JSON with a number, which the answers repeat."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rb")
        self.req = 0

    def call(self, op, **fields):
        self.req += 1
        line = json.dumps({"op": op, "req": self.req, **fields})
        self.socket.sendall(line.encode() + b"\n")
        answer = {"more": True}
        while answer.get("more"):
            answer = json.loads(self.lines.readline())
        if not answer["ok"]:
            raise RuntimeError(f"{op}: {answer['code']}: {answer['text']}")
        return answer


def main():
    control = Control(os.environ.get("PROCHUB_CONTROL", "/run/prochub/control.sock"))
    run = uuid.uuid4().hex[:8]
    jobs = {f"job-{run}-{i}": line.rstrip("\n") for i, line in enumerate(sys.stdin)}
    if jobs:
        control.call("add", no_wait=True, config={name: {
            "command": [sys.argv[1], "--", line.replace("%", "%%")],
            "restart": {"policy": "transient"},  # once it has ended well, it has ended
        } for name, line in jobs.items()})
    while jobs:
        for child in control.call("status", children=list(jobs))["children"]:
            name, state = child["child"], child["state"]
            if state in ("stopped", "failed"):
                print(f"{jobs.pop(name)}: {state} on {child['node']}", flush=True)
                control.call("remove", child=name)
        time.sleep(0.2)


if __name__ == "__main__":
    main()
