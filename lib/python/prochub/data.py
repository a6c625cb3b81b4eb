"""The data connection of one round: bytes in one direction until end of file."""

import json
import select
import socket
import time

CHUNK = 256 * 1024
TURN = 4 * 1024 * 1024
RETRY_S = 0.02  # the daemon's backlog is full


class Stream:
    """Common to both directions; `ended`: all was read, and what it means is still open."""

    EVENTS = select.EPOLLIN

    def __init__(self, path, token, ident, round_, epoll):
        self.path, self.epoll, self.round, self.bytes = path, epoll, round_, 0
        self.head = json.dumps({"op": "data", "token": token, "id": ident, "round": round_})
        self.sock, self.retry_at, self.ended = None, 0.0, False

    def open(self):
        """True once it is connected; OSError where it cannot be."""
        if self.sock:
            return True
        if time.monotonic() < self.retry_at:
            return False
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.setblocking(False)
        try:
            sock.connect(self.path)
            sock.send(self.head.encode() + b"\n")
        except BlockingIOError:
            sock.close()
            self.retry_at = time.monotonic() + RETRY_S
            return False
        except OSError:
            sock.close()
            raise
        self.sock = sock
        self.epoll.register(sock, self.EVENTS)
        return True

    def close(self):
        if self.sock:
            self.epoll.unregister(self.sock)
            self.sock.close()
            self.sock = None


class Sender(Stream):
    """Sends what an iterable of bytes gives."""

    EVENTS = select.EPOLLOUT

    def __init__(self, chunks, *where):
        super().__init__(*where)
        self.chunks, self.rest = iter(chunks), memoryview(b"")

    def pump(self):
        """True when all is sent. OSError: broken; what the iterable raises goes through."""
        if not self.open():
            return False
        moved = 0
        while moved < TURN:
            if not self.rest:
                try:
                    self.rest = memoryview(next(self.chunks)).cast("B")
                except StopIteration:
                    self.sock.shutdown(socket.SHUT_WR)
                    return True
                continue
            try:
                n = self.sock.send(self.rest[:CHUNK])
            except BlockingIOError:
                return False
            self.rest = self.rest[n:]
            self.bytes += n
            moved += n
        return False


class Reader(Stream):
    """Gives each piece to `load`."""

    def __init__(self, load, *where):
        super().__init__(*where)
        self.load = load

    def pump(self):
        """True at the end of file."""
        if not self.open():
            return False
        moved = 0
        while moved < TURN:
            try:
                piece = self.sock.recv(CHUNK)
            except BlockingIOError:
                return False
            if not piece:
                return True
            self.bytes += len(piece)
            moved += len(piece)
            self.load(self.round, piece)
        return False
