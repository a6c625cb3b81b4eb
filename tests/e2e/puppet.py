#!/usr/bin/python3
"""A child that only connects, and hands its connections to the test: puppet.py SOCKET.

The test speaks on them; the daemon sees the process, the user and the session of the child.
"""

import json
import os
import socket
import sys


def main():
    strings = socket.socket(socket.AF_UNIX)
    strings.connect(sys.argv[1])
    told = {"pid": os.getpid(), "env": {k: v for k, v in os.environ.items() if "PROCHUB" in k}}
    strings.sendall(json.dumps(told).encode() + b"\n")
    while strings.recv(1):
        hub = socket.socket(socket.AF_UNIX)
        hub.connect(os.environ["PROCHUB_SOCKET"])
        socket.send_fds(strings, [b"."], [hub.fileno()])
        hub.close()


if __name__ == "__main__":
    main()
