#!/usr/bin/python3
"""A slow cable, for kernels without netem: delayline.py PORT MS, in the namespace of the switch.

Takes PORT off the bridge br0, puts another one there in its place, and passes the frames from one
to the other MS later, in order. SIGTERM puts PORT back.
"""

import collections
import os
import select
import signal
import socket
import subprocess
import sys
import time

ALL = 3  # ETH_P_ALL
OUTGOING = 4  # PACKET_OUTGOING: what this program itself has sent


def sh(words):
    subprocess.run(words.split(), check=True, stdout=subprocess.DEVNULL)


def packets(interface):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ALL))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    s.bind((interface, 0))
    return s


def receive(source, target, line, ms):
    for _ in range(64):
        try:
            frame, address = source.recvfrom(65536)
        except BlockingIOError:
            return
        if address[2] != OUTGOING:
            line.append((time.monotonic() + ms / 1000, target, frame))


def main():
    port, ms = sys.argv[1], float(sys.argv[2])
    near, far = "near" + port[4:], "far" + port[4:]
    sh(f"ip link add {near} type veth peer name {far}")
    for interface in (near, far):  # whole checksums, no frame longer than the cable takes
        sh(f"ethtool -K {interface} tx off gso off gro off")
        sh(f"ip link set {interface} up promisc on")
    sh(f"ip link set {port} nomaster promisc on")
    sh(f"ip link set {far} master br0")

    def back(*_):
        try:
            sh(f"ip link del {near}")
            sh(f"ip link set {port} master br0 promisc off")
        finally:
            os._exit(0)

    signal.signal(signal.SIGTERM, back)
    ends = {packets(port): None, packets(near): None}
    one, other = ends
    ends = {one: other, other: one}
    line = collections.deque()
    print("delaying", flush=True)
    while True:
        now = time.monotonic()
        while line and line[0][0] <= now:
            _, target, frame = line.popleft()
            try:
                target.send(frame)
            except OSError:
                pass  # a full queue loses frames, as cables do
        wait = max(0, line[0][0] - now) if line else None
        for s in select.select(list(ends), [], [], wait)[0]:
            receive(s, ends[s], line, ms)


if __name__ == "__main__":
    main()
