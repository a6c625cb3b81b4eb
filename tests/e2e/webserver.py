#!/usr/bin/env python3
"""A web server that is swapped while it serves: POST /add counts, GET /count tells, none is lost.

Its listener is opened by the daemon (listen: {http: "tcp://127.0.0.1:8080"}), so both workers of a
swap have it. Frozen it accepts nothing, and requests on its connections wait; from the commit on
they are passed on to the new worker, and each answer closes its connection.
"""

import asyncio
import json
import os
import re
import signal
import socket

import prochub


class Web(prochub.Worker):
    caps, format, version = ("handover",), "web", 1

    def __init__(self, listener):
        self.total, self.listener, self.ending = 0, listener, False
        self.loop, self.open = asyncio.get_running_loop(), asyncio.Event()
        self.idle, self.talks = set(), set()  # writers without a request; all connections
        super().__init__()

    def serve(self, *_):
        self.open.set()
        self.loop.add_reader(self.listener.fileno(), self.accept)

    def pause(self, *_):
        self.open.clear()
        self.loop.remove_reader(self.listener.fileno())

    activate = resume = serve
    freeze = pause

    def committed(self, node, meta, retention_ms):
        self.open.set()
        self.rest()

    def save(self, round, final):
        return json.dumps(self.total).encode()

    def restore(self, round, state):
        self.total = json.loads(state)

    def stop(self, *_):  # what it has at hand is answered, unless it is frozen
        self.ending = True
        self.loop.remove_reader(self.listener.fileno())
        for writer in list(self.idle):
            writer.close()
        self.rest()

    def rest(self):
        if self.ending and (not self.talks or not self.open.is_set()):
            self.leave()
            self.loop.call_soon(self.loop.stop)
        elif self.moved and not self.talks:
            self.retention_handled()

    def accept(self):
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return  # the other worker was faster, or the client has gone
        self.talks.add(task := self.loop.create_task(self.talk(connection)))
        task.add_done_callback(lambda _: (self.talks.discard(task), self.rest()))

    async def talk(self, connection):
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            while await self.one(reader, writer):
                pass
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass
        self.idle.discard(writer)
        writer.close()

    async def one(self, reader, writer):
        self.idle.add(writer)
        head = await reader.readuntil(b"\r\n\r\n")
        self.idle.discard(writer)
        length = re.search(rb"(?i)\ncontent-length: *(\d{1,6})\r", head)
        request = head[:-2], await reader.readexactly(int(length[1]) if length else 0)
        while not self.open.is_set():
            await self.open.wait()
        last = self.moved or self.ending or b"connection: close" in head.lower()
        writer.write(await self.passed_on(*request) if self.moved else self.answer(head, last))
        await writer.drain()
        return not last

    def answer(self, head, last):
        self.total += head.startswith(b"POST /add ")
        body = json.dumps({"count": self.total, "pid": os.getpid(), "epoch": self.epoch})
        close = "Connection: close\r\n" if last else ""
        return f"HTTP/1.1 200 OK\r\n{close}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    async def passed_on(self, head, body):
        reader, writer = await asyncio.open_connection(*self.listener.getsockname()[:2])
        writer.write(head + b"Connection: close\r\n\r\n" + body)
        answer = await reader.read()
        writer.close()
        return answer

    def drive(self):
        self.dispatch()
        if (wait := self.timeout()) is not None:
            self.loop.call_later(wait, self.drive)


async def main():
    listener = socket.socket(fileno=3)
    listener.setblocking(False)
    worker = Web(listener)
    worker.loop.add_signal_handler(signal.SIGTERM, worker.stop)
    worker.loop.add_reader(worker.fileno(), worker.drive)
    worker.ready({"pid": os.getpid()})
    worker.drive()


if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.run_forever()
