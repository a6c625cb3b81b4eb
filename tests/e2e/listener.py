#!/usr/bin/python3
"""A server without the protocol that takes its listeners from LISTEN_FDS, one thread for each.

Answers each connection with a line "NAME PID ENVIRONMENT-PID" and closes it. `--slow SECONDS`: it
begins to accept only so long after its start.
"""

import os
import socket
import sys
import threading
import time


def serve(name, listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(f"{name} {os.getpid()} {os.environ['LISTEN_PID']}\n".encode())


def main():
    if sys.argv[1:2] == ["--slow"]:
        time.sleep(float(sys.argv[2]))
    names = os.environ["LISTEN_FDNAMES"].split(":")
    assert len(names) == int(os.environ["LISTEN_FDS"])
    for number, name in enumerate(names):
        listener = socket.socket(fileno=3 + number)
        threading.Thread(target=serve, args=(name, listener)).start()


main()
