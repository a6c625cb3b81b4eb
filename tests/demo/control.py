"""The control socket of a daemon, as any client may use it: JSON lines, answers by number."""

import asyncio
import itertools
import json
import socket

ANSWER_S = 2.0


class Refused(Exception):
    """The daemon said no; the text is its sentence."""


def request(op, number, fields):
    return json.dumps({"op": op, "req": number, **fields}).encode() + b"\n"


def result(answer):
    if not answer.get("ok"):
        raise Refused(answer.get("text") or answer.get("code") or "refused")
    return answer


class Control:
    """One request at a time; ask() raises OSError where the daemon is away or silent."""

    def __init__(self, path):
        self.path, self.sock, self.lines = path, None, None
        self.numbers = itertools.count(1)

    def ask(self, op, **fields):
        try:
            if not self.sock:
                self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self.sock.settimeout(ANSWER_S)
                self.sock.connect(self.path)
                self.lines = self.sock.makefile("rb")
            self.sock.sendall(request(op, next(self.numbers), fields))
            line = self.lines.readline()
            if not line:
                raise ConnectionResetError("the daemon closed its control socket")
            return result(json.loads(line))
        except OSError:
            self.close()
            raise

    def close(self):
        if self.sock:
            self.sock.close()
            self.sock = None


class SharedControl:
    """The same for many coroutines: one connection, any number of requests in flight."""

    def __init__(self, path):
        self.path, self.writer, self.waiting = path, None, {}
        self.numbers = itertools.count(1)
        self.opening = asyncio.Lock()

    async def ask(self, op, **fields):
        async with self.opening:
            if not self.writer:
                reader, self.writer = await asyncio.open_unix_connection(self.path, limit=2**20)
                self.task = asyncio.ensure_future(self.read(reader, self.writer))
        number = next(self.numbers)
        future = self.waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self.writer.write(request(op, number, fields))
            return result(await asyncio.wait_for(future, ANSWER_S))
        except asyncio.TimeoutError:
            raise OSError(f"no answer to {op} for {ANSWER_S:g} s") from None
        finally:
            self.waiting.pop(number, None)

    async def read(self, reader, writer):
        try:
            while line := await reader.readline():
                answer = json.loads(line)
                future = self.waiting.get(answer.get("re"))
                if future and not future.done():
                    future.set_result(answer)
        except OSError:
            pass
        finally:
            self.end(writer)

    def end(self, writer):
        writer.close()
        self.writer = None
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(ConnectionResetError("the daemon closed its control socket"))

    def close(self):
        """Whoever waits gets an error."""
        if self.writer:
            self.task.cancel()
