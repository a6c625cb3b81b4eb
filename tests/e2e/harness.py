"""Real daemons on loopback addresses, spoken to through the control socket and prochubctl.

Cluster keeps the nodes of one test, Node is one prochubd with its directories and configuration,
Control is one connection to a control socket. Whatever waits here polls with a deadline.
"""

import datetime
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("PROCHUB_BUILD") or os.path.join(ROOT, "build", "release"))
HERE = os.path.dirname(os.path.abspath(__file__))
PROCHUBD = os.path.join(BUILD, "prochubd")
CTL = os.path.join(BUILD, "prochubctl")
PYTHON = "/usr/bin/python3"
COUNTER = [os.path.join(BUILD, "counter")]
PY_COUNTER = ["/usr/bin/env", "PYTHONPATH=" + os.path.join(ROOT, "lib", "python"), PYTHON, "-S",
              os.path.join(ROOT, "lib", "python", "examples", "counter.py")]
FAST = {"retention": "500ms", "timeout": "10s", "downtime": "2s"}


class Refused(Exception):
    """The answer of a control socket with "ok":false."""

    def __init__(self, answer):
        super().__init__(f"{answer.get('code')}: {answer.get('text')}")
        self.answer, self.code, self.text = answer, answer.get("code"), answer.get("text")


def wait(condition, what, timeout=10, pause=0.03):
    """What `condition()` returns as soon as it is true; `what` names it where it never is."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what() if callable(what) else what}")
        time.sleep(pause)


claims = {}  # by port: sockets whose names say which ones the tests of this process use


def claim(base):
    """False: the tests of another process, or of this one, have it, listening or not just now."""
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0prochub-e2e-{base}")
    except OSError:
        mark.close()
        return False
    claims[base] = mark
    return True


def release(base):
    if base in claims:
        claims.pop(base).close()


def free_base(address):
    """A port of which it and the next two are free on that address, and stay so for this process.
    Below those that the kernel takes for connections."""
    while True:
        base = random.randrange(20000, 32000, 4)
        held = []
        try:
            for port in range(base, base + 3):
                held.append(socket.socket())
                held[-1].bind((address, port))
            if claim(base):
                return base
        except OSError:
            continue
        finally:
            for s in held:
                s.close()


def free_port(address="127.0.0.1"):
    return free_base(address)


def alive(pid):
    """Is that process there, and no zombie?"""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def processes_of(mark):
    """Pids whose environment or command line names `mark`."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        for name in ("environ", "cmdline"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as f:
                    if mark.encode() in f.read() and alive(pid):
                        found.append(int(pid))
                        break
            except OSError:
                pass
    return found


def answers_at_once(call, seconds, limit, what, tries=5):
    """Of some stretches of so many seconds at least one has no answer that took longer than that:
    what holds up a daemon does so all the time, a machine that is busy does not."""
    slowest = []
    while len(slowest) < tries:
        slowest.append(0)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.monotonic()
            call()
            slowest[-1] = max(slowest[-1], time.monotonic() - began)
            time.sleep(0.02)
        if slowest[-1] < limit:
            return
    raise AssertionError(f"{what}: the slowest answers took {slowest}")


def age_s(time_text):
    """How long ago that was, by RFC 3339 in UTC."""
    then = datetime.datetime.strptime(time_text.rstrip("Z") + "+0000", "%Y-%m-%dT%H:%M:%S.%f%z")
    return time.time() - then.timestamp()


def kill(pid, sig=signal.SIGKILL):
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass


class Control:
    """One connection to a control socket; call() is one request with all its lines."""

    def __init__(self, path, timeout=30):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.lines = self.socket.makefile("rb")
        self.req = 0

    def send(self, op, **fields):
        self.req += 1
        self.socket.sendall(json.dumps({"op": op, "req": self.req, **fields}).encode() + b"\n")
        return self.req

    def read(self):
        line = self.lines.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the daemon closed the connection")
        return json.loads(line)

    def call(self, op, on_more=None, **fields):
        req = self.send(op, **fields)
        while True:
            answer = self.read()
            if answer["re"] == 0 and not answer["ok"]:
                raise Refused(answer)  # of the connection as a whole
            assert answer["re"] == req, answer
            if not answer.get("more"):
                break
            if on_more:
                on_more(answer)
        if not answer["ok"]:
            raise Refused(answer)
        return answer

    def close(self):
        self.lines.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Node:
    """One prochubd: configuration, directories, process."""

    def __init__(self, cluster, name, address, config):
        self.cluster, self.name, self.address, self.config = cluster, name, address, config
        self.dir = os.path.join(cluster.dir, name)
        self.run_dir, self.state_dir = self.dir + "/run", self.dir + "/state"
        self.file, self.output = self.dir + "/prochub.yaml", self.dir + "/output"
        self.control_path = self.run_dir + "/control.sock"
        self.process, self.env, self.prefix, self.program = None, {}, [], PROCHUBD
        os.makedirs(self.dir)

    def write(self, text=None):
        """Writes the configuration (JSON is YAML)."""
        with open(self.file, "w") as f:
            f.write(text if text is not None else json.dumps(self.config, indent=1))

    def start(self, ready=True, **more):
        self.write()
        with open(self.output, "ab") as out:
            self.process = subprocess.Popen(
                [*self.prefix, self.program, "-c", self.file], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env={"PATH": os.environ["PATH"], "PROCHUB_E2E": self.cluster.dir, **self.env},
                **more)
        if ready:
            self.wait_up()
        return self

    def wait_up(self, timeout=10):
        def up():
            assert self.process.poll() is None, f"{self.name} ended:\n{self.log()}"
            try:
                return self.call("ping")
            except OSError:
                return None
        wait(up, lambda: f"{self.name} answers:\n{self.log()}", timeout)

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def whole_log(self):
        try:
            with open(self.output, errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def log(self):
        return self.whole_log()[-6000:]

    # ---- asking

    def control(self, timeout=30):
        return Control(self.control_path, timeout)

    def call(self, op, timeout=30, **fields):
        with self.control(timeout) as control:
            return control.call(op, **fields)

    def ctl(self, *args, timeout=60, input=None, env=None):
        """prochubctl against this daemon; returncode, stdout, stderr."""
        return subprocess.run(
            [CTL, "--socket", self.control_path, *args], capture_output=True, text=True,
            timeout=timeout, input=input, env={"PATH": os.environ["PATH"], **(env or {})})

    def status(self):
        return self.call("status")

    def child(self, name, instance=0):
        """The entry of `status` for that child, None where there is none."""
        for entry in self.status()["children"]:
            if entry["child"] == name and entry["instance"] == instance:
                return entry
        return None

    def migrations(self, child=None):
        return [m for m in self.call("migrations")["migrations"] if child in (None, m["child"])]

    def lookup(self, child, **fields):
        return self.call("lookup", child=child, **fields)["instances"]

    def events(self, *kinds):
        found = []

        def on_more(line):
            found.append({k: v for k, v in line.items() if k not in ("re", "ok", "more")})
        with self.control() as control:
            control.call("events", on_more=on_more)
        return [e for e in found if not kinds or e["event"] in kinds]

    # ---- waiting

    def wait_event(self, kind, timeout=10, **fields):
        def seen():
            return [e for e in self.events(kind)
                    if all(e.get(k) == v for k, v in fields.items())]
        return wait(seen, lambda: f"event {kind} {fields} on {self.name}; "
                    f"there are {[e['event'] for e in self.events()]}\n{self.log()}", timeout)[-1]

    def wait_child(self, name, instance=0, timeout=10, **fields):
        """Waits until the entry of the child has these values (or passes these tests)."""
        def matches(entry):
            return entry and all(v(entry.get(k)) if callable(v) else entry.get(k) == v
                                 for k, v in fields.items())

        def there():
            entry = self.child(name, instance)
            return entry if matches(entry) else None
        return wait(there, lambda: f"{name}/{instance} {fields} on {self.name}: "
                    f"{self.child(name, instance)}\n{self.log()}", timeout)

    def wait_running(self, name, instance=0, timeout=10, **fields):
        return self.wait_child(name, instance, timeout, state="running", ready=True, **fields)

    def wait_migration(self, child, result=None, timeout=15, after=()):
        """The newest migration of the child, once it is finished (with that result)."""
        def ended():
            found = [m for m in self.migrations(child)
                     if m["result"] != "running" and m["id"] not in after]
            if result:
                found = [m for m in found if m["result"] == result]
            return found
        return wait(ended, lambda: f"migration of {child} {result or ''} on {self.name}: "
                    f"{self.migrations(child)}\n{self.log()}", timeout)[-1]

    # ---- ending

    def children_of(self):
        """Pids of the direct children of the daemon, with their names."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as f:
                    head, _, rest = f.read().rpartition(")")
                if int(rest.split()[1]) == self.process.pid:
                    found[int(pid)] = head.partition("(")[2]
            except OSError:
                pass
        return found

    def bus_pid(self):
        for pid, name in self.children_of().items():
            if name.startswith("prochub-bus"):
                return pid
        return None

    def fence_pid(self):
        """That of this node, whichever daemon has started it."""
        for pid in processes_of(self.run_dir):
            try:
                with open(f"/proc/{pid}/comm") as f:
                    if f.read() == "prochub-fence\n":
                        return pid
            except OSError:
                pass
        return None

    def kill(self):
        """kill -9 of the daemon alone."""
        self.process.kill()
        self.process.wait()

    def kill_node(self):
        """The whole machine: daemon, bus and workers at once."""
        kill(self.process.pid, signal.SIGSTOP)
        for pid in {*processes_of(self.run_dir), *self.children_of()} - {self.process.pid}:
            kill(pid)
        self.kill()

    def stop(self, timeout=20, asked=False):
        """An orderly stop (`asked` for already or not); nothing of this node may be left."""
        bus, fence = self.bus_pid(), self.fence_pid()
        if not asked:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not stop:\n{self.log()}") from None
        assert code == 0, f"{self.name} ended with {code}:\n{self.log()}"
        assert not bus or not alive(bus), f"{self.name} left its bus process"
        assert not fence or not alive(fence), f"{self.name} left its fence"
        left = processes_of("PROCHUB_SOCKET=" + self.run_dir)
        assert not left, f"{self.name} left {left}:\n{self.log()}"


class Cluster:
    """The nodes of one test, each with an address of its own on loopback."""

    def __init__(self, port=None):
        self.dir = tempfile.mkdtemp(prefix="ph", dir="/tmp")
        os.chmod(self.dir, 0o755)
        self.nodes = {}
        self.port = port or free_base("127.0.0.1")

    def address(self, number):
        return f"tcp://127.0.0.{number}:{self.port}"

    def node(self, name, children=None, alone=False, cluster=None, **more):
        """A node that is not started yet. All of a test know the first three addresses."""
        number = len(self.nodes) + 1
        config = {
            "node": {"name": name, "run_dir": f"{self.dir}/{name}/run",
                     "state_dir": f"{self.dir}/{name}/state"},
            "log": {"level": os.environ.get("PROCHUB_E2E_LOG", "info")},
            "defaults": {"stop_timeout": "1s", "start_timeout": "5s", "migration": dict(FAST),
                         "restart": {"backoff": "50ms", "intensity": 0}},
            "children": children or {},
        }
        if not alone:
            config["cluster"] = {
                "name": "e2e", "listen": self.address(number),
                "peers": [self.address(n) for n in (1, 2, 3)],
                "join_timeout": "1s", "failure_timeout": "2s", "settle": "200ms",
                **(cluster or {})}
        for key, value in more.items():
            config[key] = {**config.get(key, {}), **value}
        node = Node(self, name, self.address(number), config)
        self.nodes[name] = node
        return node

    def start(self, *names, children=None, **more):
        """Makes and starts nodes, all at once, and waits until each sees all the others."""
        nodes = [self.node(name, children, **more) for name in names]
        for node in nodes:
            node.start(ready=False)
        for node in nodes:
            node.wait_up()
        self.wait_members()
        return nodes

    @property
    def live(self):
        return [node for node in self.nodes.values() if node.running]

    def wait_members(self, timeout=15):
        """Every live node sees exactly the live ones alive."""
        names = sorted(node.name for node in self.live)

        def agreed():
            return all(sorted(n["name"] for n in node.status()["nodes"] if n["state"] == "alive")
                       == names for node in self.live)
        wait(agreed, lambda: "members: " + str({
            node.name: [(n["name"], n["state"]) for n in node.status()["nodes"]]
            for node in self.live}) + "".join(n.log() for n in self.live), timeout)

    def wait_everywhere(self, child, instance=0, timeout=15, **fields):
        """All live nodes show the child running and with these values."""
        return [node.wait_running(child, instance, timeout, **fields) for node in self.live][0]

    def wait_calm(self, timeout=30):
        """No migration runs anywhere, as everybody sees it."""
        def calm():
            return not any(m["result"] == "running" for n in self.live for m in n.migrations())
        wait(calm, lambda: f"{[n.migrations() for n in self.live]}", timeout)

    def wait_quiet(self, timeout=40):
        """As wait_calm(), and what the last join or leave has brought about is over too."""
        def quiet():
            for node in self.live:
                changes = node.events("node_joined", "node_left", "node_dead")
                if age_s(changes[-1]["time"]) < 0.7 or any(
                        m["result"] == "running" for m in node.migrations()):
                    return False
            return True
        wait(quiet, lambda: f"{[n.migrations() for n in self.live]}", timeout)

    def workers(self, child, instance=0):
        """Pids of the worker processes of that child, on all nodes (from /proc)."""
        found = []
        for pid in processes_of(f"PROCHUB_SOCKET={self.dir}/"):
            try:
                with open(f"/proc/{pid}/environ", "rb") as f:
                    env = f.read().split(b"\0")
            except OSError:
                continue
            if f"PROCHUB_CHILD={child}".encode() in env and \
                    f"PROCHUB_INSTANCE={instance}".encode() in env:
                found.append(pid)
        return found

    def wait_single(self, child, instance=0, timeout=10):
        """Exactly one process is left of that child; its pid."""
        def single():  # a shell has another one for a moment, again and again
            found = self.workers(child, instance)
            return found[0] if len(found) == 1 else None
        return wait(single, lambda: f"one process of {child}/{instance}: "
                    f"{self.workers(child, instance)}", timeout)

    def close(self, orderly):
        """Ends all that runs. With `orderly` first as people do, and checks that it worked."""
        try:
            if orderly:
                live = self.live
                for node in live:
                    node.process.send_signal(signal.SIGTERM)
                for node in live:
                    node.stop(asked=True)
                for node in self.nodes.values():  # a killed daemon leaves one, for a while
                    fence = None if node in live else node.fence_pid()
                    if fence:
                        kill(fence)
                        wait(lambda: not alive(fence), "the end of a fence")
                left = processes_of(self.dir)
                assert not left, f"left behind: {left}"
        finally:
            for node in self.live:
                for pid in {node.process.pid, *node.children_of()}:
                    kill(pid)
            for _ in range(3):
                for pid in processes_of(self.dir):
                    kill(pid)
            for node in self.nodes.values():
                if node.process:
                    node.process.wait()
            release(self.port)
            shutil.rmtree(self.dir, ignore_errors=True)
