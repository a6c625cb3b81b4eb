"""Clients of the counters: they write all the time, and know exactly what was acknowledged."""

import itertools
import random
import socket
import threading
import time

import harness


class Client(threading.Thread):
    """Increments one counter: a SEQ is repeated after any failure until it is acknowledged.

    Each acknowledgement says how many updates the worker has applied: fewer than were
    acknowledged means that some are lost, more that some were applied twice.
    """

    numbers = itertools.count()
    patience, stall = 30, 2  # seconds for the answer of a daemon, and of a worker

    def __init__(self, cluster, child, instance=0, pause=0.002):
        super().__init__(daemon=True)
        self.cluster, self.child, self.instance, self.pause = cluster, child, instance, pause
        self.name = f"client-{next(self.numbers)}"
        self.acked = self.epoch = self.count = 0
        self.lost, self.twice, self.backwards, self.dead = [], [], [], []
        self.longest, self.longest_at, self.why = 0.0, 0, ""
        self.stopping = threading.Event()
        self.connection = self.lines = None
        self.error = None
        self.start()

    def run(self):
        try:
            while not self.stopping.is_set():
                self.increment()
                self.stopping.wait(self.pause)
        except Exception as e:  # told by finish()
            self.error = e
        self.forget()

    def increment(self):
        began, seq = time.monotonic(), self.acked + 1
        while not self.stopping.is_set():
            answer = self.try_once(f"inc {self.name} {seq}\n")
            if answer:
                break
            self.stopping.wait(0.005)
        else:
            return
        self.answered(seq, answer)
        took = time.monotonic() - began
        if took > self.longest:
            self.longest, self.longest_at = took, seq

    def answered(self, seq, answer):
        count, epoch = int(answer[1]), int(answer[2])
        self.acked, self.count = seq, count
        if count < seq:
            self.lost.append((seq, count, epoch))
        if count > seq:
            self.twice.append((seq, count, epoch))
        if epoch < self.epoch:
            self.backwards.append((seq, self.epoch, epoch))
        self.epoch = max(self.epoch, epoch)

    def try_once(self, line):
        """The words of an "ok" answer, or None."""
        try:
            if not self.connection and not self.connect():
                return None
            self.connection.sendall(line.encode())
            answer = self.lines.readline().split()
            if answer and answer[0] == b"ok":
                return [w.decode() for w in answer]
            self.why = str(answer)
        except OSError as e:
            self.why = str(e)
        self.forget()
        return None

    def choose(self):
        """The node to be asked next."""
        return random.choice(self.cluster.live or [None])

    def connect(self):
        node = self.choose()
        if not node:
            return False
        try:
            found = node.lookup(self.child, timeout=self.patience, instance=self.instance)
        except (OSError, harness.Refused) as e:
            self.why = f"lookup on {node.name}: {e}"
            return False
        found = [i for i in found if i["ready"] and (i.get("meta") or {}).get("address")]
        if not found:
            self.why = f"lookup on {node.name}: nobody"
            return False
        host, port = found[0]["meta"]["address"].split(":")
        try:
            self.connection = socket.create_connection((host, int(port)), self.stall)
        except OSError as e:
            self.why = f"{found[0]}: {e}"
            self.dead.append((node.name, found[0]["node"], found[0]["epoch"], port))
            return False
        self.lines = self.connection.makefile("rb")
        return True

    def forget(self):
        if self.connection:
            self.lines.close()
            self.connection.close()
            self.connection = None

    def acks(self, more, timeout=10):
        """Waits until so many further updates are acknowledged."""
        want = self.acked + more
        harness.wait(lambda: self.acked >= want or self.error,
                     lambda: f"{self.name} of {self.child}: {more} more acknowledgements, {self.why}\n" +
                     "".join(n.log()[-2500:] for n in self.cluster.live), timeout)
        assert not self.error, self.error

    def finish(self, dead_allowed=False, lost_allowed=False):
        """Stops, asks the worker once more, and checks the whole account."""
        self.acks(3)
        self.stopping.set()
        self.join(10)
        assert not self.error, self.error
        answer = harness.wait(lambda: self.try_once(f"get {self.name}\n"),
                              lambda: f"{self.name}: an answer; {self.why}")
        self.forget()
        count = int(answer[1])
        # the update in flight when the client stopped may have been applied without an answer
        assert lost_allowed or not self.lost, f"lost: {self.lost[:5]}"
        assert lost_allowed or count >= self.acked, f"{count} of {self.acked} acknowledged"
        assert not self.twice, f"twice: {self.twice[:5]}"
        assert count <= self.acked + 1
        assert not self.backwards, f"epochs fell: {self.backwards[:5]}"
        assert dead_allowed or not self.dead, f"lookups answered the dead: {self.dead[:5]}"
        return self.acked


def finish_all(clients, **allowed):
    for client in clients:
        client.finish(**allowed)
