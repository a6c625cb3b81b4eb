#!/usr/bin/env python3
"""A web server that is replaced while it serves, and loses neither a request nor a count.

The daemon opens the listener (`listen: {http: "tcp://127.0.0.1:8080"}`), and both workers of a swap
have it. POST /add counts one more, GET /count tells how many there were.

    active      it accepts, and answers from its own state
    frozen      it accepts nothing: new connections wait in the backlog; requests on those that it
                has are read and wait
    committed   the new worker accepts; what comes on connections that are still here is passed on
                to it, and each answer closes its connection, so that the next one goes there

When the last connection is closed the retention is over (`retention_handled`).
"""

import asyncio
import json
import os
import signal
import socket

import prochub

HEAD_MAX, BODY_MAX = 16384, 1 << 20


class Web(prochub.Worker):
    caps = ("handover",)
    format, version = "web", 1

    def __init__(self, listener):
        self.total, self.listener, self.accepting = 0, listener, False
        self.tasks, self.busy = {}, set()  # task: writer; those with a request at hand
        self.open = asyncio.Event()  # requests need not wait
        super().__init__()

    # ---- what the daemon says

    def activate(self, epoch):
        self.serve()

    def freeze(self, deadline_ms):
        self.pause()

    def resume(self, reason):
        self.serve()

    def committed(self, node, meta, retention_ms):
        self.pause()
        self.open.set()
        self.rest()

    def stop(self, grace_ms, reason):
        self.end()

    def save(self, round, final):
        return json.dumps({"total": self.total}).encode()

    def restore(self, round, state):
        self.total = json.loads(state)["total"]

    # ---- connections

    def serve(self):
        self.open.set()
        if not self.accepting:
            asyncio.get_running_loop().add_reader(self.listener.fileno(), self.accept)
        self.accepting = True

    def pause(self):
        self.open.clear()
        if self.accepting:
            asyncio.get_running_loop().remove_reader(self.listener.fileno())
        self.accepting = False

    def accept(self):
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return  # the other worker was faster, or the client has gone
        connection.setblocking(False)
        asyncio.get_running_loop().create_task(self.talk(connection))

    async def talk(self, connection):
        me = asyncio.current_task()
        self.tasks[me] = None
        try:
            reader, writer = await asyncio.open_connection(sock=connection)
            self.tasks[me] = writer
            while await self.one(me, reader, writer):
                pass
            writer.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            connection.close()
        finally:
            self.busy.discard(me)
            del self.tasks[me]
            self.rest()

    async def one(self, me, reader, writer):
        """One request; False: the connection is over."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.busy.add(me)
        body = await reader.readexactly(body_size(head))
        while not self.open.is_set():
            await self.open.wait()
        if self.moved:
            writer.write(await self.passed_on(head, body))
            await writer.drain()
            return False
        last = self.leaving_soon or b"connection: close" in head.lower()
        writer.write(self.answer(head.split(b" ", 2)[:2], last))
        await writer.drain()
        self.busy.discard(me)
        return not last

    def answer(self, request, last):
        if request == [b"POST", b"/add"]:
            self.total += 1
        elif request != [b"GET", b"/count"]:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        body = json.dumps({"count": self.total, "pid": os.getpid(), "epoch": self.epoch}).encode()
        return (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" +
                (b"Connection: close\r\n" if last else b"") +
                b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def passed_on(self, head, body):
        """The new worker's answer to a request that still came here."""
        if self.listener.family == socket.AF_UNIX:
            reader, writer = await asyncio.open_unix_connection(self.listener.getsockname())
        else:
            reader, writer = await asyncio.open_connection(*self.listener.getsockname()[:2])
        writer.write(head[:-2] + b"Connection: close\r\n\r\n" + body)
        answer = await reader.read()
        writer.close()
        return answer

    # ---- its end

    leaving_soon = False

    def rest(self):
        """Nobody is left here: the retention, or a stop, need not be waited for."""
        if self.tasks:
            return
        if self.leaving_soon:
            self.leave()
            asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
        elif self.moved:
            self.retention_handled()

    def end(self):
        self.leaving_soon, serves = True, self.active
        if not self.moved:
            self.pause()
        if serves:
            self.open.set()
        for task, writer in list(self.tasks.items()):
            if task not in self.busy and writer:
                writer.close()
            elif not serves and not self.moved:
                task.cancel()  # what is frozen answers nothing
        self.rest()


def body_size(head):
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            size = int(value)
            if not 0 <= size <= BODY_MAX:
                raise ValueError("too large")
            return size
    return 0


def drive(worker):
    worker.dispatch()
    if (wait := worker.timeout()) is not None:
        asyncio.get_running_loop().call_later(wait, drive, worker)


async def main():
    listener = socket.socket(fileno=3)
    listener.setblocking(False)
    worker = Web(listener)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, worker.end)
    loop.add_reader(worker.fileno(), drive, worker)
    worker.ready({"pid": os.getpid()})
    drive(worker)


if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.run_forever()
