"""Three daemons on one machine: their configuration, their processes, and how nothing is left.

Everything that is started carries DEMO_DIR in its environment or descends from what does, so that
the clean-up finds it, whatever state it is in.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from control import Control

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
NODES = {"a": "127.0.0.11", "b": "127.0.0.12", "c": "127.0.0.13"}
CHILDREN = [f"c-counter/{i}" for i in range(8)] + [f"py-counter/{i}" for i in range(4)]
STOP_S = 6.0  # an orderly stop: stop_timeout, and time for the daemons
KILL_S = 2.0

# One text for all daemons. The ballast is filler in the counters' state, so that a move takes
# long enough to be seen.
CONFIGURATION = """\
node:
  name: ${DEMO_NODE}
  run_dir: ${DEMO_DIR}/${DEMO_NODE}/run
  state_dir: ${DEMO_DIR}/${DEMO_NODE}/state
cluster:
  name: demo
  listen: tcp://${DEMO_ADDRESS}:${DEMO_PORT}
  peers: ["tcp://127.0.0.11:${DEMO_PORT}", "tcp://127.0.0.12:${DEMO_PORT}",
          "tcp://127.0.0.13:${DEMO_PORT}"]
  key_file: ${DEMO_DIR}/cluster.key
  join_timeout: 1s
  settle: 300ms
defaults:
  ready: protocol
  stop_timeout: 2s
  migration: {retention: 1s}
children:
  c-counter:
    instances: 8
    command: ["${DEMO_BUILD}/counter", --ballast, "2000000"]
  py-counter:
    instances: 4
    command: ["${DEMO_PYTHON}", -B, "${DEMO_ROOT}/lib/python/examples/counter.py",
              --ballast, "16000000"]
    env: {PYTHONPATH: "${DEMO_ROOT}/lib/python"}
"""


class Failed(Exception):
    """A step did not do what it should; the text says which and why."""


def free_port():
    """A port below the ephemeral ones that is free, with the next two, on all three addresses."""
    for _ in range(100):
        port = random.randrange(20000, 30000)
        try:
            for address in NODES.values():
                for n in range(3):
                    with socket.socket() as sock:
                        sock.bind((address, port + n))
            return port
        except OSError:
            continue
    raise Failed("no free ports on 127.0.0.11 to 127.0.0.13")


def processes():
    """pid: (parent, start time) of every process that still runs."""
    found = {}
    for word in os.listdir("/proc"):
        if not word.isdigit():
            continue
        try:
            with open(f"/proc/{word}/stat", encoding="utf-8", errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] not in "ZX":
            found[int(word)] = (int(fields[1]), fields[19])
    return found


def environment_has(pid, text):
    try:
        with open(f"/proc/{pid}/environ", "rb") as environment:
            return text.encode() in environment.read()
    except OSError:
        return False


class Cluster:
    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.dir, self.daemons, self.logs, self.controls = None, {}, {}, {}
        self.seen = set()  # (pid, start time) of all that was ever found to be ours

    def prepare(self):
        for name in ("prochubd", "prochub-bus", "prochub-fence", "prochubctl", "counter"):
            if not os.access(os.path.join(self.build, name), os.X_OK):
                raise Failed(f"{self.build}/{name} is missing: run 'make all' first")
        self.dir = tempfile.mkdtemp(prefix="prochub-demo-", dir="/tmp")
        self.port = free_port()
        with open(self.path("prochub.yaml"), "w", encoding="utf-8") as out:
            out.write(CONFIGURATION)
        self.run_tool("keygen", self.path("cluster.key"))

    def path(self, *words):
        return os.path.join(self.dir, *words)

    def environment(self, node):
        env = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "TZ", "HOME")}
        env.update(DEMO_DIR=self.dir, DEMO_NODE=node, DEMO_ADDRESS=NODES[node],
                   DEMO_PORT=str(self.port), DEMO_BUILD=self.build, DEMO_PYTHON=sys.executable,
                   DEMO_ROOT=ROOT)
        return env

    def start(self, node):
        os.makedirs(self.path(node))
        self.logs[node] = self.path(node, "log")
        with open(self.logs[node], "wb") as log:
            self.daemons[node] = subprocess.Popen(
                [os.path.join(self.build, "prochubd"), "-c", self.path("prochub.yaml")],
                env=self.environment(node), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd="/", start_new_session=True)
        self.controls[node] = Control(self.socket(node))

    def socket(self, node):
        return self.path(node, "run", "control.sock")

    def check_alive(self):
        for node, daemon in self.daemons.items():
            if daemon.poll() is not None:
                raise Failed(f"the daemon of {node} ended by itself, status {daemon.returncode}")

    def tool(self, *words):
        """prochubctl, started: its output is for the one who waits for it."""
        return subprocess.Popen(
            [os.path.join(self.build, "prochubctl"), "--color=never", *words],
            env={**self.environment("a"), "PROCHUB_CONTROL": self.socket("a")},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True)

    def run_tool(self, *words):
        tool = self.tool(*words)
        try:
            said, _ = tool.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            tool.kill()
            tool.communicate()
            raise Failed(f"prochubctl {words[0]} did not end within 5 s") from None
        if tool.returncode:
            raise Failed(f"prochubctl {words[0]}: {said.strip()}")

    # ---- the end

    def ours(self):
        """The processes of this demo that run now."""
        found = processes()
        roots = {d.pid for d in self.daemons.values()}
        mark = f"DEMO_DIR={self.dir}\0"
        under = f"PROCHUB_SOCKET={self.dir}/"
        for pid, (_, start) in found.items():
            if (pid in roots or environment_has(pid, mark) or environment_has(pid, under)):
                self.seen.add((pid, start))
        grew = True
        while grew:
            family = {pid for pid, start in self.seen if found.get(pid, (0, None))[1] == start}
            more = {(pid, start) for pid, (parent, start) in found.items() if parent in family}
            grew = not more <= self.seen
            self.seen |= more
        return sorted(pid for pid, start in self.seen if found.get(pid, (0, None))[1] == start)

    def stop(self):
        """SIGTERM to all; returns what was wrong with the stop."""
        wrong = []
        self.ours()
        for daemon in self.daemons.values():
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGTERM)
        end = time.monotonic() + STOP_S
        while time.monotonic() < end and any(d.poll() is None for d in self.daemons.values()):
            time.sleep(0.02)
        for node, daemon in self.daemons.items():
            if daemon.poll() is None:
                wrong.append(f"the daemon of {node} did not stop within {STOP_S:g} s")
            elif daemon.returncode:
                wrong.append(f"the daemon of {node} stopped with status {daemon.returncode}")
        left = self.ours()
        if left:
            wrong.append("processes left: " + ", ".join(self.describe(pid) for pid in left))
        wrong += [f"socket left: {path}" for path in self.sockets()]
        return wrong

    @staticmethod
    def describe(pid):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as words:
                return f"{pid} ({words.read().replace(bytes(1), b' ').decode().strip()[:60]})"
        except OSError:
            return str(pid)

    def sockets(self):
        return [os.path.join(where, name) for where, names, files in os.walk(self.dir or "/nowhere")
                for name in files + names if os.path.exists(os.path.join(where, name))
                and (os.stat(os.path.join(where, name)).st_mode & 0o170000) == 0o140000]

    def wipe(self):
        """Leaves nothing: kills what is left and removes the directory. Safe at any moment."""
        if not self.dir:
            return
        for control in self.controls.values():
            control.close()
        end = time.monotonic() + KILL_S
        while (left := self.ours()) and time.monotonic() < end:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            for daemon in self.daemons.values():
                daemon.poll()
            time.sleep(0.02)
        for daemon in self.daemons.values():
            daemon.poll()
        shutil.rmtree(self.dir, ignore_errors=True)

    def last_log_lines(self, n):
        """(node, lines) of each daemon."""
        for node, path in self.logs.items():
            try:
                with open(path, encoding="utf-8", errors="replace") as log:
                    yield node, log.read().splitlines()[-n:]
            except OSError:
                continue
