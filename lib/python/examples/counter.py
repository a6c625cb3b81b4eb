#!/usr/bin/env python3
"""Counts for its clients ("inc CLIENT SEQ", each SEQ once), and moves without losing a count."""

import argparse
import asyncio

import prochub


class Counter(prochub.Worker):
    caps = ("handover", "ask", "rounds")
    format, version = "counter", 1
    round = ballast = 0  # ballast: bytes of filler in the state, for tests

    def __init__(self):
        self.counts = {}  # client: [last seq, count]
        self.dirty = {}  # client: the round in which it changed last
        super().__init__()

    def lines(self, clients):
        return "".join(f"{c} {self.counts[c][0]} {self.counts[c][1]}\n" for c in clients).encode()

    def estimate(self):
        return len(self.lines(self.counts)) + self.ballast + bool(self.ballast)

    def save(self, round, final):
        self.round = round + 1
        yield self.lines([c for c in self.counts if round == 0 or self.dirty.get(c, 0) >= round])
        if round == 0 and self.ballast:
            yield b"#"
            for at in range(0, self.ballast, 100000):
                yield (b"0123456789" * 10000)[: self.ballast - at]

    def restore(self, round, state):
        lines, mark, filler = state.partition(b"#")
        for at in range(0, len(filler), 100000):
            if not (b"0123456789" * 10000).startswith(filler[at:at + 100000]):
                raise prochub.Reject("format", "the filler is damaged")
        self.ballast = len(filler) if mark else self.ballast
        for line in lines.decode().splitlines():
            client, seq, count = line.split()
            self.counts[client] = [int(seq), int(count)]

    def answer(self, line):
        if self.moved or not self.active:
            return "moved" if self.moved else "busy"
        op, client, *seq = line.split()
        entry = self.counts.setdefault(client, [0, 0])
        if op == "inc" and int(seq[0]) > entry[0]:
            entry[:] = int(seq[0]), entry[1] + 1
            self.dirty[client] = self.round
        return f"ok {entry[1]} {self.epoch}"


class Alone:
    """Started by hand: always active, nothing to move."""
    moved, active, epoch, round, counts, dirty = False, True, 0, 0, {}, {}
    answer = Counter.answer


async def serve(worker, reader, writer):
    while line := await reader.readline():
        reply = worker.answer(line.decode())
        writer.write(reply.encode() + b"\n")
        if reply == "moved":
            break
    writer.close()


def drive(worker):
    worker.dispatch()
    if worker.leaving:
        asyncio.get_running_loop().stop()
    if (wait := worker.timeout()) is not None:
        asyncio.get_running_loop().call_later(wait, drive, worker)


async def main(args):
    try:
        worker = Counter()
    except prochub.NotSupervised:
        worker = Alone()
    worker.ballast = args.ballast
    server = await asyncio.start_server(lambda r, w: serve(worker, r, w), "127.0.0.1", args.port)
    address = "%s:%d" % server.sockets[0].getsockname()
    if isinstance(worker, Alone):
        return print(address, flush=True)
    worker.ready({"address": address})
    asyncio.get_running_loop().add_reader(worker.fileno(), drive, worker)
    drive(worker)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ballast", type=int, default=0)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main(parser.parse_args()))
    loop.run_forever()
