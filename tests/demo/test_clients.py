"""The demo's clients against daemons and workers that lie: what they count must show it.

Run with pytest. The daemon is a control socket that names whatever address the test sets, the
worker a TCP server that answers the count that the test makes up.
"""

import asyncio
import json
import os
import socket
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import clients  # noqa: E402

CHILD = "c-counter/3"


class World:
    """A daemon and a worker; `answers` maps the number of an update to the worker's reply."""

    def __init__(self, answers=None):
        self.answers, self.address, self.lookups = answers or {}, None, 0
        self.applied = set()

    async def lookup(self, reader, writer):
        while line := await reader.readline():
            self.lookups += 1
            found = {"instance": 3, "node": "a", "epoch": 7, "ready": True,
                     "meta": {"address": self.address}}
            answer = {"re": json.loads(line)["req"], "ok": True, "instances": [found]}
            writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()

    async def work(self, reader, writer):
        while line := await reader.readline():
            op, _, *seq = line.decode().split()
            if op == "inc":
                self.applied.add(int(seq[0]))
            number = len(self.applied)
            writer.write(self.answers.pop(number, f"ok {number} 7").encode() + b"\n")
        writer.close()

    async def play(self, test):
        with tempfile.TemporaryDirectory() as where:
            path = os.path.join(where, "control.sock")
            daemon = await asyncio.start_unix_server(self.lookup, path)
            worker = await asyncio.start_server(self.work, "127.0.0.1", 0)
            self.address = "127.0.0.1:%d" % worker.sockets[0].getsockname()[1]
            directory = clients.Directory()
            directory.set_nodes({"a": path})
            client = clients.Client(CHILD, directory)
            await asyncio.wait_for(test(client, directory), 10)
            client.drop()
            for server in (daemon, worker):
                server.close()


def count(answers, updates=20):
    """A client after `updates` acknowledgements."""
    world, result = World(answers), {}

    async def test(client, directory):
        loop = asyncio.ensure_future(client.run())
        while client.acked < updates:
            await asyncio.sleep(0.005)
        client.stopping = True
        await loop
        assert await client.verify()
        result.update(vars(client), lookups=directory.lookups, applied=len(world.applied))

    asyncio.run(world.play(test))
    return result


def test_an_honest_worker_is_believed():
    got = count({})
    assert (got["lost"], got["twice"], got["backward"]) == (0, 0, 0)
    assert got["acked"] == got["applied"] >= 20


def test_moved_busy_and_nonsense_are_asked_again_with_the_same_number():
    got = count({3: "moved", 5: "busy", 9: "what?"})
    assert (got["lost"], got["twice"]) == (0, 0)
    assert got["acked"] == got["applied"]
    assert got["lookups"] >= 4


def test_a_count_that_falls_back_is_lost():
    assert count({7: "ok 4 7"})["lost"] == 3


def test_a_count_that_jumps_is_twice_and_errors_do_not_cancel_out():
    got = count({7: "ok 9 7"})
    assert got["twice"] == 2
    assert got["lost"] == 2  # the next count falls back by as much


def test_an_older_epoch_is_seen():
    assert count({7: "ok 7 6"})["backward"] == 1


def closed_address():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % sock.getsockname()[1]


def test_a_daemon_that_goes_on_naming_a_dead_worker_is_counted():
    world = World()

    async def test(client, directory):
        world.address = closed_address()
        assert await directory.find(CHILD) is None
        assert directory.dead == 1 and len(directory.notes) == 1

    asyncio.run(world.play(test))


def test_an_answer_that_grew_old_on_its_way_is_not_counted():
    world = World()

    async def test(client, directory):
        alive, world.address = world.address, closed_address()
        place = await directory.ask("a", CHILD)
        world.address = alive
        await directory.judge("a", CHILD, place)
        assert directory.dead == 0

    asyncio.run(world.play(test))
