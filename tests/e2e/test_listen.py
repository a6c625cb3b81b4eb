"""Listeners that the daemon opens: passed on, kept over every kind of restart, closed at the end."""

import os
import signal
import socket
import stat
import subprocess
import threading
import time

import harness
import pytest
from harness import free_port

SERVER = os.path.join(harness.HERE, "listener.py")


def server(listen, *args, **options):
    return {"command": [harness.PYTHON, "-S", "-E", SERVER, *args], "listen": listen, **options}


def ask(address, timeout=10):
    """The words of the answer; `address` is a port or a path."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as s:
        s.settimeout(timeout)
        s.connect(address if isinstance(address, str) else ("127.0.0.1", address))
        return s.makefile().read().split()


def refused(address):
    try:
        ask(address, 0.5)
    except ConnectionRefusedError:
        return True
    except (FileNotFoundError, TimeoutError):
        return isinstance(address, str)
    except ConnectionResetError:
        pass  # it waited in a backlog whose listener was closed just then
    return False


class Asking(threading.Thread):
    """Asks again and again, one connection after the other; none may fail."""

    def __init__(self, address):
        super().__init__()
        self.address, self.stopping, self.answers, self.failed = address, False, [], []
        self.start()

    def run(self):
        while not self.stopping:
            try:
                words = ask(self.address, 20)
            except ConnectionResetError:
                continue  # a worker that is ended takes along what it had accepted, not what waits
            except OSError as e:
                self.failed.append(repr(e))
                continue
            self.answers.append(words)

    def finish(self):
        self.stopping = True
        self.join()
        assert not self.failed, self.failed
        return self.answers


def test_passed_as_systemd_does(solo, cluster):
    ports = free_port(), free_port()
    path = cluster.dir + "/web-0.sock"
    node = solo({"web": server({"b": f"tcp://127.0.0.1:{ports[0]}", "a": f"unix:{cluster.dir}/%c-%i.sock",
                                "c": f"tcp://localhost:{ports[1]}"})})
    pid = str(node.wait_running("web")["pid"])
    assert ask(path) == ["a", pid, pid]
    assert ask(ports[0]) == ["b", pid, pid]
    assert ask(ports[1]) == ["c", pid, pid]
    with open(f"/proc/{pid}/environ", "rb") as f:
        env = dict(e.split("=", 1) for e in f.read().decode().split("\0") if e)
    assert (env["LISTEN_FDS"], env["LISTEN_FDNAMES"], env["LISTEN_PID"]) == ("3", "a:b:c", pid)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
    node.stop()
    assert not os.path.exists(path)
    assert all(refused(p) for p in ports)


def test_instances_add_to_the_port(solo):
    base = harness.free_base("127.0.0.1")
    node = solo({"room": server({"game": f"tcp://127.0.0.1:[{base}+%i]"}, instances=3)})
    for i in range(3):
        pid = str(node.wait_running("room", i)["pid"])
        assert ask(base + i) == ["game", pid, pid]
    node.stop()


def test_nothing_is_refused_over_restarts(solo, cluster):
    port, path = free_port(), cluster.dir + "/web.sock"
    node = solo({"web": server({"tcp": f"tcp://127.0.0.1:{port}", "unix": f"unix:{path}"},
                               "--slow", "0.2")})
    node.wait_running("web")
    asking = [Asking(port), Asking(path), Asking(port)]
    pids = set()
    for _ in range(4):
        pid = node.wait_running("web", pid=lambda p: p not in pids)["pid"]
        pids.add(pid)
        harness.wait(lambda: any(str(pid) in a for x in asking for a in x.answers), "it answers")
        node.ctl("restart", "web")
    for a in asking:
        seen = {words[1] for words in a.finish() if words}
        assert len(seen) >= 4
    node.stop()


@pytest.mark.parametrize("daemon", ["same", "adopted", "upgraded", "next"])
def test_connections_wait_while_nobody_runs(solo, daemon):
    """In its back-off, after a crash, nobody is refused; by whichever daemon has the listener."""
    port = free_port()
    pause = "4s" if daemon == "next" else "1s"
    node = solo({"web": server({"tcp": f"tcp://127.0.0.1:{port}"},
                               restart={"delay": pause, "backoff": pause, "intensity": 0})})
    before = node.wait_running("web")["pid"]
    if daemon == "adopted":
        node.kill()
        node.start()
        assert node.wait_running("web")["pid"] == before
    started = time.monotonic()
    os.kill(before, signal.SIGKILL)
    node.wait_child("web", state="backoff")
    if daemon == "upgraded":
        node.process.send_signal(signal.SIGUSR2)
        harness.wait(lambda: "signal USR2: executing" in node.whole_log(), "the next daemon")
    if daemon == "next":  # nobody had it meanwhile
        node.kill()
        node.start()
        assert node.child("web")["state"] == "backoff"
    words = ask(port)
    assert words[1] != str(before)
    assert daemon in ("upgraded", "next") or time.monotonic() - started > 0.9
    assert "is closed" not in node.whole_log()
    node.stop()


def test_daemon_is_killed(solo, cluster):
    port, path = free_port(), cluster.dir + "/web.sock"
    node = solo({"web": server({"tcp": f"tcp://127.0.0.1:{port}", "unix": f"unix:{path}"})})
    before = node.wait_running("web")["pid"]
    asking = [Asking(port), Asking(path)]
    for _ in range(3):
        node.kill()
        node.start()
        assert node.wait_running("web")["pid"] == before
    # It has them back: a restart of the worker refuses nobody.
    harness.wait(lambda: all(len(a.answers) > 5 for a in asking), "they are answered")
    node.ctl("restart", "web")
    after = node.wait_running("web", pid=lambda p: p != before)["pid"]
    harness.wait(lambda: all(str(after) in a.answers[-1] for a in asking), "by the new one")
    for a in asking:
        a.finish()
    node.stop()
    assert refused(port) and not os.path.exists(path)


def test_worker_ended_while_no_daemon_was_there(solo):
    port = free_port()
    node = solo({"web": server({"tcp": f"tcp://127.0.0.1:{port}"})})
    before = node.wait_running("web")["pid"]
    node.kill()
    harness.kill(before)
    harness.wait(lambda: refused(port), "nobody has it")
    node.start()
    after = node.wait_running("web", pid=lambda p: p != before)["pid"]
    assert ask(port)[1] == str(after)
    node.stop()


class Manager:
    """A service manager's end of NOTIFY_SOCKET that keeps descriptors (FDSTORE=1)."""

    def __init__(self, path):
        self.path, self.kept = path, {}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(0.2)

    def hear(self):
        """All that has been said until now."""
        while True:
            try:
                text, fds, _, _ = socket.recv_fds(self.socket, 4096, 8)
            except TimeoutError:
                return self.kept
            words = dict(line.split("=", 1) for line in text.decode().splitlines())
            if "FDSTORE" in words and words["FDNAME"] not in self.kept:
                self.kept[words["FDNAME"]] = fds.pop()
            if "FDSTOREREMOVE" in words and words["FDNAME"] in self.kept:
                os.close(self.kept.pop(words["FDNAME"]))
            for fd in fds:
                os.close(fd)

    def start(self, node):
        """With what is kept, as systemd passes it."""
        names = sorted(self.kept)
        script = ("import os, sys\n"
                  f"fds = [os.dup(fd) for fd in {[self.kept[n] for n in names]}]\n"
                  "fds = [os.dup2(fd, 100 + i) for i, fd in enumerate(fds)]\n"
                  "[os.dup2(fd, 3 + i) for i, fd in enumerate(fds)]\n"
                  f"os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='{len(names)}',"
                  f" LISTEN_FDNAMES='{':'.join(names)}')\n"
                  "os.closerange(3 + len(fds), 300)\n"
                  "os.execv(sys.argv[1], sys.argv[1:])")
        node.prefix = [harness.PYTHON, "-S", "-E", "-c", script]
        node.start(pass_fds=[self.kept[n] for n in names])
        node.prefix = []


def test_service_manager_keeps_it(solo, cluster):
    """The daemon dies while nobody has the listener: who connects meanwhile waits."""
    port, gone = free_port(), free_port()
    manager = Manager(cluster.dir + "/manager.sock")
    node = cluster.node("a", {"web": server({"tcp": f"tcp://127.0.0.1:{port}"},
                                            restart={"delay": "3s", "intensity": 0}),
                              "gone": server({"tcp": f"tcp://127.0.0.1:{gone}"})}, alone=True)
    node.env["NOTIFY_SOCKET"] = manager.path
    node.start()
    before = node.wait_running("web")["pid"]
    node.wait_running("gone")
    assert len(manager.hear()) == 2
    os.kill(before, signal.SIGKILL)
    node.wait_child("web", state="backoff")
    node.kill()
    with socket.create_connection(("127.0.0.1", port), 5) as waiting:
        waiting.settimeout(10)
        manager.start(node)
        after = node.wait_running("web", pid=lambda p: p != before)["pid"]
        assert waiting.makefile().read().split()[1] == str(after)
    node.wait_running("gone")
    node.ctl("stop", "gone")
    harness.wait(lambda: len(manager.hear()) == 1 and refused(gone), "it is closed")
    node.stop()
    assert manager.hear() == {} and refused(port)


def test_closed_when_it_stops_for_good(solo, cluster):
    port, path = free_port(), cluster.dir + "/web.sock"
    node = solo({"web": server({"tcp": f"tcp://127.0.0.1:{port}", "unix": f"unix:{path}"}),
                 "once": server({"tcp": f"tcp://127.0.0.1:{free_port()}"},
                                restart={"policy": "temporary"})})
    node.wait_running("web")
    node.ctl("stop", "web")
    node.wait_child("web", state="stopped")
    harness.wait(lambda: refused(port) and not os.path.exists(path), "they are closed")
    assert f"web/0: listener tcp://127.0.0.1:{port} is closed\n" in node.whole_log()
    node.ctl("start", "web")
    pid = str(node.wait_running("web")["pid"])
    assert ask(port)[1] == ask(path)[1] == pid
    once = int(node.config["children"]["once"]["listen"]["tcp"].rpartition(":")[2])
    os.kill(node.wait_running("once")["pid"], signal.SIGTERM)
    node.wait_child("once", state="stopped")
    harness.wait(lambda: refused(once), "it is closed")
    del node.config["children"]["web"]
    node.write()
    node.ctl("reload")
    harness.wait(lambda: refused(port) and not os.path.exists(path), "they are closed")
    node.stop()


def test_another_address_by_reload(solo):
    old, new = free_port(), free_port()
    node = solo({"web": server({"tcp": f"tcp://127.0.0.1:{old}"})})
    node.wait_running("web")
    node.config["children"]["web"]["listen"]["tcp"] = f"tcp://127.0.0.1:{new}"
    node.write()
    assert node.ctl("reload").returncode == 0
    harness.wait(lambda: refused(old) and not refused(new), "the new one is open, the old closed", 20)
    node.stop()


def test_address_that_is_taken(solo):
    port = free_port()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        node = solo({"web": server({"tcp": f"tcp://127.0.0.1:{port}"})})
        node.wait_child("web", state="backoff")
        event = node.wait_event("child_restarting", child="web")
        assert f"listen.tcp: cannot listen at tcp://127.0.0.1:{port}: Address already in use" in event["text"]
        time.sleep(1.5)  # several attempts
        assert len(node.events("child_restarting")) == 1
        assert node.log().count("Address already in use") <= 2
        assert not node.events("child_failed")
    node.wait_running("web")
    assert ask(port)[0] == "tcp"
    node.stop()


def test_moved_away(cluster):
    """Each node has its own; that of the old one is closed once its worker is stopped."""
    nodes = cluster.start("a", "b", children={
        "web": server({"tcp": f"unix:{cluster.dir}/%n.sock"},
                      migration={**harness.FAST, "retention": "300ms"})})
    entry = cluster.wait_everywhere("web")
    source = cluster.nodes[entry["node"]]
    target = next(n for n in nodes if n is not source)
    old, new = f"{cluster.dir}/{source.name}.sock", f"{cluster.dir}/{target.name}.sock"
    assert ask(old)[1] == str(entry["pid"]) and refused(new)
    done = source.ctl("move", "web", target.name)
    assert done.returncode == 0, done
    pid = cluster.wait_everywhere("web", node=target.name)["pid"]
    assert ask(new)[1] == str(pid)
    harness.wait(lambda: not os.path.exists(old), "the old one is closed")


@pytest.mark.parametrize("listen, error", [
    ({"a": "tcp://127.0.0.1:1", "b": "tcp://0.0.0.0:1"}, "is taken by tcp://0.0.0.0:1 of web, listener b"),
    ({"a": "127.0.0.1:1"}, "is not tcp://ADDRESS:PORT"),
    ({"a": "unix:relative"}, "is not tcp://ADDRESS:PORT"),
])
def test_refused_by_check(cluster, listen, error):
    node = cluster.node("a", {"web": server(listen)}, alone=True)
    node.write()
    done = subprocess.run([harness.PROCHUBD, "-t", "-c", node.file], capture_output=True, text=True,
                          timeout=20, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 2 and error in done.stderr, done


def test_low_port_of_an_ordinary_user(cluster):
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as f:
        lowest = int(f.read())
    if os.geteuid() or lowest < 2:
        pytest.skip("needs root, and ports that are not for everyone")
    node = cluster.node("a", {"web": server({"a": f"tcp://127.0.0.1:{lowest - 1}"})}, alone=True)
    node.write()
    os.chmod(node.file, 0o644)
    done = subprocess.run([harness.PROCHUBD, "-t", "-c", node.file], capture_output=True, text=True,
                          timeout=20, user=65534, group=65534, extra_groups=[],
                          env={"PATH": os.environ["PATH"]})
    assert done.returncode == 2 and "needs root or CAP_NET_BIND_SERVICE" in done.stderr, done
