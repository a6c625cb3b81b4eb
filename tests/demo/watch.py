"""What is known of the cluster and of the clients at this moment, and the sums at the end.

The cluster is seen through the status that one daemon answers; the clients report by lines. A
migration's pause is the longest time between two acknowledgements of its child that overlaps the
time from the migration's start to its end.
"""

import json
import os
import subprocess
import sys
import time

from cluster import HERE, Failed

STATUS_S = 0.1
SETTLED_S = 0.3  # the clients' reports about a migration's last moments have arrived by then
GAPS_KEPT_S = 60.0


class Migration:
    def __init__(self, row, now):
        self.row, self.started, self.ended = row, now - (row["elapsed_ms"] or 0) / 1000, None
        self.pause = None  # seconds, once it is known

    @property
    def child(self):
        return f"{self.row['child']}/{self.row['instance']}"

    @property
    def running(self):
        return self.row["result"] == "running"

    def update(self, row, now):
        was, self.row = self.running, row
        if not self.running and (was or self.ended is None):
            self.ended = min(now, self.started + (row["elapsed_ms"] or 0) / 1000 + STATUS_S)


class Child:
    def __init__(self):
        self.row, self.acked, self.rate = {}, 0, 0.0
        self.gaps, self.samples = [], []

    def report(self, at, acked, gap_start, gap):
        self.acked = acked
        self.samples = [s for s in self.samples if at - s[0] < 1.0] + [(at, acked)]
        first = self.samples[0]
        self.rate = (acked - first[1]) / (at - first[0]) if at > first[0] else 0.0
        self.gaps = [g for g in self.gaps if at - g[0] < GAPS_KEPT_S]
        if gap:
            self.gaps.append((gap_start, gap))

    def longest(self, start, end):
        return max((g for at, g in self.gaps if at <= end and at + g >= start), default=0.0)


class Watch:
    def __init__(self, cluster, children, on_migration):
        self.cluster, self.on_migration = cluster, on_migration
        self.children = {name: Child() for name in children}
        self.nodes, self.migrations, self.finished = [], {}, []
        self.sums = dict.fromkeys(("acked", "lost", "twice", "backward", "lookups", "dead"), 0)
        self.verdict, self.notes = None, []
        self.asked_at, self.partial, self.clients, self.said = 0.0, b"", None, {}

    # ---- clients

    def start_clients(self):
        self.clients = subprocess.Popen(
            [sys.executable, "-B", os.path.join(HERE, "clients.py"), *self.children],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        os.set_blocking(self.clients.stdout.fileno(), False)

    def order(self, **order):
        try:
            self.clients.stdin.write(json.dumps(order).encode() + b"\n")
            self.clients.stdin.flush()
        except OSError:
            raise Failed("the clients are gone") from None

    def read_reports(self):
        if not self.clients:
            return
        while piece := self.clients.stdout.read(65536):
            *lines, self.partial = (self.partial + piece).split(b"\n")
            for line in lines:
                self.take_report(json.loads(line))
        if self.verdict is None and self.clients.poll() is not None:
            raise Failed(f"the clients ended by themselves, status {self.clients.returncode}")

    def take_report(self, report):
        for name, row in report["children"].items():
            self.children[name].report(report["at"], *row)
        self.sums = {word: report[word] for word in self.sums}
        self.notes += report["notes"]
        if "verified" in report:
            self.verdict = report

    def end_clients(self):
        if self.clients and self.clients.poll() is None:
            self.clients.kill()
        if self.clients:
            self.clients.wait()

    # ---- cluster

    def turn(self):
        """Reads what there is; asks for the status where the last one is old."""
        self.read_reports()
        now = time.monotonic()
        if now - self.asked_at >= STATUS_S and self.verdict is None:
            self.asked_at = now
            self.cluster.check_alive()
            self.ask_status()
        self.settle(now)

    def ask_status(self):
        try:
            status = self.cluster.controls["a"].ask("status")
        except (KeyError, OSError):
            return  # not there yet; each wait has a deadline
        now = time.monotonic()
        self.nodes = status["nodes"]
        for row in status["children"]:
            child = self.children.get(f"{row['child']}/{row['instance']}")
            if child:
                child.row = row
        for row in status["migrations"]:
            migration = self.migrations.setdefault(row["id"], Migration(row, now))
            migration.update(row, now)
        self.tell_clients()

    def tell_clients(self):
        """Daemons that count themselves as alive may be asked for lookups."""
        if not self.clients:
            return
        alive = {}
        for node in self.nodes:
            name = node["name"]
            if node["state"] == "alive" and (name in self.said or self.sees_itself(name)):
                alive[name] = self.cluster.socket(name)
        if alive != self.said:
            self.said = alive
            self.order(nodes=alive)

    def sees_itself(self, name):
        try:
            nodes = self.cluster.controls[name].ask("nodes")["nodes"]
        except (KeyError, OSError):
            return False
        return any(n["name"] == name and n["state"] == "alive" for n in nodes)

    def settle(self, now):
        for migration in self.migrations.values():
            if migration.ended and migration.pause is None and now - migration.ended > SETTLED_S:
                migration.pause = self.children[migration.child].longest(
                    migration.started, migration.ended)
                self.finished.append(migration)
                self.on_migration(migration)

    # ---- questions

    def state_of(self, node):
        return next((n["state"] for n in self.nodes if n["name"] == node), None)

    def children_on(self, node):
        return {name for name, c in self.children.items() if c.row.get("node") == node}

    def all_running(self):
        return all(c.row.get("ready") and c.row.get("state") == "running"
                   for c in self.children.values())

    def quiet(self):
        """No migration runs, and what is to be told about the finished ones was told."""
        return all(not m.running and m.pause is not None for m in self.migrations.values())

    def migration_of(self, child):
        """The one that shows in the child's line: the running one, or the last."""
        mine = [m for m in self.migrations.values() if m.child == child]
        return max(mine, key=lambda m: (m.running, m.started), default=None)

    def done(self):
        return [m for m in self.finished if m.row["result"] == "done"]

    def aborted(self):
        return [m for m in self.finished if m.row["result"] != "done"]
