"""The demo's clients: one a child, each increments its counter without pause.

A process of its own, so that drawing never disturbs what is measured. It reads lines of JSON:
{"nodes": {NAME: CONTROL SOCKET}} says which daemons may be asked from now on, {"stop": true} ends
the increments and compares every worker's count with what was acknowledged. It writes a report
every 100 ms, and a last one with "verified". Times are CLOCK_MONOTONIC, the same in all processes.

What is counted:

lost, twice: each acknowledgement carries the count that the worker holds now. It is exactly one
    more than the one before, because each child has one client here and a SEQ that is sent again
    counts once. What is missing was lost, what is too much was applied twice; errors of opposite
    signs do not cancel out.
dead: lookups answered with a worker that is no more. After a migration no member that is alive
    and in step may name the old worker once that is stopped. A client cannot see when it stops,
    and an honest answer may grow old on its way; so a refused connection proves only that the
    worker is gone now, and then the same daemon is asked again: if it still gives that address
    with that epoch, and the connection is refused again, this second answer was false when it was
    given, and it counts. In this demo no worker crashes, so every other stop of one would be a
    fault as well. Only daemons that are alive in their own eyes are asked, that is in step.
"""

import asyncio
import itertools
import json
import random
import sys
import time

from control import Refused, SharedControl

PACE_S = 0.001  # after an acknowledgement; the pauses are measured with this grain
RETRY_S = 0.001  # after moved, busy, a broken connection
PROBE_S = 0.010  # a lookup beside the clients', and a connection to what it names
REPORT_S = 0.100
SILENCE_S = 3.0  # a worker that does not answer for so long: as if the connection had broken
CONNECT_S = 1.0
VERIFY_S = 5.0


async def connect(address):
    host, port = address.rsplit(":", 1)
    return await asyncio.wait_for(asyncio.open_connection(host, int(port)), CONNECT_S)


class Directory:
    """Finds workers by the lookups of any daemon."""

    def __init__(self):
        self.daemons = {}
        self.lookups = self.dead = 0
        self.notes = []

    def set_nodes(self, paths):
        for name in set(self.daemons) - set(paths):
            self.daemons.pop(name).close()
        for name in set(paths) - set(self.daemons):
            self.daemons[name] = SharedControl(paths[name])

    async def ask(self, name, child):
        """(node, epoch, address) of the worker to go to, or None: nowhere at this moment."""
        kind, instance = child.split("/")
        try:
            found = await self.daemons[name].ask("lookup", child=kind, instance=int(instance))
        except (KeyError, OSError, Refused):
            return None
        self.lookups += 1
        for one in found["instances"]:
            if one["ready"] and one.get("meta"):
                return one["node"], one["epoch"], one["meta"]["address"]
        return None

    async def find(self, child):
        """A connection to the worker, or None: try again."""
        if not self.daemons:
            return None
        name = random.choice(list(self.daemons))
        place = await self.ask(name, child)
        try:
            return place and await connect(place[2])
        except ConnectionRefusedError:
            await self.judge(name, child, place)
        except (OSError, asyncio.TimeoutError):
            pass
        return None

    async def judge(self, name, child, place):
        """The worker at `place` is gone: does that daemon still name it?"""
        if await self.ask(name, child) != place:
            return
        try:
            (await connect(place[2]))[1].close()
        except ConnectionRefusedError:
            self.dead += 1
            self.notes.append(f"{name} answered a lookup of {child} with {place[0]} {place[2]}, "
                              "where no worker is any more")
        except (OSError, asyncio.TimeoutError):
            pass


class Client:
    def __init__(self, child, directory):
        self.child, self.directory = child, directory
        self.name = "demo-" + child.replace("/", "-")
        self.acked = self.count = self.epoch = 0
        self.lost = self.twice = self.backward = 0
        self.acked_at = self.asked_at = None
        self.gap = (0.0, 0.0)  # the longest since the last report: its start and its length
        self.writer = None
        self.stopping = False

    async def exchange(self, line):
        """One request, one reply; "" where the connection broke."""
        try:
            if not self.writer:
                found = await self.directory.find(self.child)
                if not found:
                    return ""
                self.reader, self.writer = found
            self.asked_at = time.monotonic()
            self.writer.write(line.encode() + b"\n")
            reply = (await self.reader.readline()).decode()
        except OSError:
            reply = ""
        self.asked_at = None
        if not reply.startswith("ok ") or not reply.endswith("\n"):
            self.drop()
            return ""
        return reply

    def drop(self):
        if self.writer:
            self.writer.close()
            self.writer = None

    def watch(self, now):
        if self.asked_at and now - self.asked_at > SILENCE_S and self.writer:
            self.writer.transport.abort()

    async def run(self):
        while not self.stopping:
            reply = await self.exchange(f"inc {self.name} {self.acked + 1}")
            if reply:
                self.acknowledge(reply)
            await asyncio.sleep(PACE_S if reply else RETRY_S)

    def acknowledge(self, reply):
        now = time.monotonic()
        count, epoch = (int(word) for word in reply.split()[1:3])
        self.acked += 1
        self.compare(count, self.count + 1)
        self.backward += epoch < self.epoch
        self.count, self.epoch = count, epoch
        if self.acked_at and now - self.acked_at > self.gap[1]:
            self.gap = (self.acked_at, now - self.acked_at)
        self.acked_at = now

    def compare(self, count, expected):
        self.lost += max(0, expected - count)
        self.twice += max(0, count - expected)

    async def verify(self):
        """Asks once more, over a connection found anew; False: no worker answered."""
        end = time.monotonic() + VERIFY_S
        self.drop()
        while time.monotonic() < end:
            reply = await self.exchange(f"get {self.name}")
            if reply:
                self.compare(int(reply.split()[1]), self.count)
                self.drop()
                return True
            await asyncio.sleep(RETRY_S)
        return False


class Clients:
    def __init__(self, children):
        self.directory = Directory()
        self.clients = [Client(child, self.directory) for child in children]

    def report(self, **more):
        rows = {}
        for c in self.clients:
            rows[c.child] = [c.acked, *c.gap]
            c.gap = (0.0, 0.0)
        sums = {word: sum(getattr(c, word) for c in self.clients)
                for word in ("acked", "lost", "twice", "backward")}
        notes, self.directory.notes = self.directory.notes, []
        print(json.dumps({"at": time.monotonic(), "children": rows, **sums, "notes": notes,
                          "lookups": self.directory.lookups, "dead": self.directory.dead, **more}),
              flush=True)

    async def orders(self):
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            order = json.loads(line)
            if order.get("stop"):
                return
            self.directory.set_nodes(order["nodes"])

    async def probe(self):
        for client in itertools.cycle(self.clients):
            found = await self.directory.find(client.child)
            if found:
                found[1].close()
            await asyncio.sleep(PROBE_S)

    async def report_all(self):
        while True:
            await asyncio.sleep(REPORT_S)
            for client in self.clients:
                client.watch(time.monotonic())
            self.report()

    async def run(self):
        orders, *rest = [asyncio.ensure_future(c) for c in
                         (self.orders(), self.probe(), self.report_all())]
        loops = [asyncio.ensure_future(c.run()) for c in self.clients]
        # only the orders come to an end; of the others an exception
        done, _ = await asyncio.wait([orders, *rest, *loops], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        for client in self.clients:
            client.stopping = True
        await asyncio.wait(loops, timeout=VERIFY_S)
        # a loop that has not ended has an update under way, whose fate nobody knows
        ended = [c for c, loop in zip(self.clients, loops) if loop.done()]
        verified = await asyncio.gather(*(c.verify() for c in ended))
        silent = {c.child for c in self.clients} - {c.child for c, ok in zip(ended, verified) if ok}
        for task in rest + loops:
            task.cancel()
        self.report(verified=not silent, silent=sorted(silent))


if __name__ == "__main__":
    try:
        asyncio.run(Clients(sys.argv[1:]).run())
    except (KeyboardInterrupt, BrokenPipeError):
        pass
