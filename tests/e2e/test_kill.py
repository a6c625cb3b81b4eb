"""Hostile children: whatever they do, nothing of them is left after a stop, and no port is taken.

Each test runs twice: as this machine has it (with a cgroup for each worker, where it has cgroup v2),
and without any cgroup, where processes are found by their parents and their environment.
"""

import os
import signal
import socket
import subprocess
import time

import pytest

import harness
from harness import free_port, wait
from raw import sleeper

NO_CGROUPS = ["unshare", "-m", "/bin/sh", "-c",
              'umount -lR /sys/fs/cgroup 2>/dev/null; exec "$@"', "sh"]


@pytest.fixture(params=["as-it-is", "without-cgroups"])
def hostile(request, cluster):
    """hostile(children) starts a node for them."""
    def start(children):
        node = cluster.node("a", children, alone=True)
        if request.param == "without-cgroups":
            node.prefix = NO_CGROUPS
        node.start()
        if request.param == "without-cgroups":
            assert "workers get no cgroups: " in node.log()
        return node
    return start


def python(code, **more):
    head = ("import os, signal, socket, sys, time\n"
            "def orphan():\n"  # true in a process of a session of its own whose parent has ended
            "    if os.fork(): return False\n"
            "    os.setsid()\n"
            "    if os.fork(): os._exit(0)\n"
            "    return True\n"
            "def listen(port):\n"
            "    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
            "    s.bind(('127.0.0.1', port)); s.listen(); return s\n")
    return {"command": [harness.PYTHON, "-S", "-c", (head + code).replace("%", "%%")], **more}


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def can_bind(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def pids_in(path):
    """Those that it has written down so far."""
    try:
        with open(path) as f:
            return [int(x) for x in f.read().split()]
    except OSError:
        return []


def stop(node, child="web"):
    began = time.monotonic()
    assert node.ctl("stop", child).returncode == 0
    assert node.child(child)["state"] == "stopped"
    return time.monotonic() - began


IGNORES = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
LISTENER = "if orphan():\n    s = listen({port}); time.sleep(1000)\n"


def test_listener_of_a_grandchild(hostile):
    """It has left the session, its parent is gone, and it ignores SIGTERM."""
    port = free_port()
    node = hostile({"web": python(IGNORES + LISTENER.format(port=port) + "time.sleep(1000)\n")})
    node.wait_running("web")
    wait(lambda: listens(port), "the listener")
    stop(node)
    assert can_bind(port)


def test_listener_of_a_grandchild_of_who_stops_by_itself(hostile):
    port = free_port()
    node = hostile({"web": python(LISTENER.format(port=port) + "time.sleep(1000)\n")})
    pid = node.wait_running("web")["pid"]
    wait(lambda: listens(port), "the listener")
    os.kill(pid, signal.SIGKILL)  # and so does who dies: its next start finds the port free
    again = node.wait_running("web", pid=lambda p: p and p != pid)["pid"]
    wait(lambda: listens(port), "the next listener")
    stop(node)
    assert can_bind(port) and not harness.alive(again)
    assert "Address already in use" not in node.log()


def test_group_of_its_own(hostile, cluster):
    path = cluster.dir + "/pids"
    node = hostile({"web": python(
        "for i in range(3):\n"
        "    if not os.fork():\n"
        "        os.setpgid(0, 0); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"        print(os.getpid(), file=open({path!r}, 'a')); time.sleep(1000)\n"
        "time.sleep(1000)\n")})
    node.wait_running("web")
    wait(lambda: len(pids_in(path)) == 3, "its children")
    stop(node)
    assert not any(map(harness.alive, pids_in(path)))


def test_environment_taken_away(hostile, cluster):
    """With its parent still there it is known by that one."""
    path = cluster.dir + "/pids"
    node = hostile({"web": python(
        "if not os.fork():\n"
        "    os.setsid()\n"
        f"    os.execve('/bin/sh', ['sh', '-c', 'trap \"\" TERM; echo $$ >{path}; sleep 1000 & "
        "wait; sleep 1000'], {'PATH': '/bin:/usr/bin'})\n"
        "time.sleep(1000)\n")})
    node.wait_running("web")
    pid = wait(lambda: pids_in(path), "its child")[0]
    below = wait(lambda: subprocess.run(["pgrep", "-P", str(pid)], capture_output=True,
                                        text=True).stdout.split(), "and the child of that")
    stop(node)
    assert not harness.alive(pid) and not harness.alive(int(below[0]))


def test_token_taken_away(hostile, cluster):
    """As our own libraries do before anything is started."""
    path = cluster.dir + "/pids"
    node = hostile({"web": python(
        "del os.environ['PROCHUB_TOKEN']\n"
        "if orphan():\n"
        f"    os.execv('/bin/sh', ['sh', '-c', 'echo $$ >{path}; exec sleep 1000'])\n"
        "time.sleep(1000)\n"), "other": python(
        "del os.environ['PROCHUB_TOKEN']\n"
        "if orphan():\n"
        f"    os.execv('/bin/sh', ['sh', '-c', 'echo $$ >{path}.other; exec sleep 1000'])\n"
        "time.sleep(1000)\n")})
    node.wait_running("web")
    pid = wait(lambda: pids_in(path), "its grandchild")[0]
    other = wait(lambda: pids_in(path + ".other"), "that of the other")[0]
    stop(node)
    assert not harness.alive(pid) and harness.alive(other)
    stop(node, "other")
    assert not harness.alive(other)


def test_one_that_runs_away(hostile, cluster):
    """A new process every few milliseconds, each in a session of its own; a minute at most, for
    one that outlived its test would take a core for ever."""
    path = cluster.dir + "/steps"
    node = hostile({"web": python(
        "if orphan():\n"
        f"    fd = os.open({path!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        "    end = time.monotonic() + 60\n"
        "    while time.monotonic() < end:\n"
        "        time.sleep(0.003); os.write(fd, b'.')\n"
        "        if os.fork(): os._exit(0)\n"
        "        os.setsid()\n"
        "time.sleep(1000)\n")})
    node.wait_running("web")
    wait(lambda: os.path.exists(path) and os.path.getsize(path) > 5, "it runs")
    stop(node)
    steps = os.path.getsize(path)
    time.sleep(0.2)
    assert os.path.getsize(path) == steps


def test_hangs_in_its_start(hostile):
    port = free_port()
    child = python(LISTENER.format(port=port) + IGNORES + "time.sleep(1000)\n", ready="notify",
                   start_timeout="2s", stop_timeout="200ms")
    node = hostile({"web": child})
    wait(lambda: listens(port), "the listener")
    event = node.wait_event("child_exited", child="web")
    assert event["exit"]["signal"] == signal.SIGKILL
    node.wait_child("web", restarts=lambda n: n >= 2, timeout=30)
    stop(node)
    assert can_bind(port)


def test_ends_in_no_time_and_closes_what_it_has(hostile):
    node = hostile({
        "brief": {"command": ["/bin/true"], "restart": {"backoff": "20ms", "intensity": 0}},
        "deaf": {"command": ["/bin/sh", "-c", "exec <&- >&- 2>&-; sleep 1000"]},
        "litter": {"command": ["/bin/sh", "-c", "(setsid true &); exec sleep 1000"]}})
    node.wait_child("brief", restarts=lambda n: n >= 5)
    deaf = node.wait_running("deaf")["pid"]
    stop(node, "deaf")
    assert not harness.alive(deaf)
    stop(node, "brief")

    def zombies():
        found = []
        for pid in node.children_of():
            try:
                with open(f"/proc/{pid}/stat") as f:
                    if f.read().rpartition(")")[2].split()[0] == "Z":
                        found.append(pid)
            except OSError:
                pass
        return found
    wait(lambda: not zombies(), lambda: f"no zombies: {zombies()}")


def test_dies_as_the_daemon_dies(hostile):
    """What is left of a worker that ended while no daemon was there goes before its next start."""
    port = free_port()
    node = hostile({"web": python(LISTENER.format(port=port) + "time.sleep(1000)\n")})
    pid = node.wait_running("web")["pid"]
    wait(lambda: listens(port), "the listener")
    node.process.send_signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    node.kill()
    node.start()
    again = node.wait_running("web", pid=lambda p: p and p != pid)["pid"]
    wait(lambda: listens(port), "the next listener")
    assert "Address already in use" not in node.log()
    stop(node)
    assert can_bind(port) and not harness.alive(again)


def test_orphans_of_an_adopted_worker(hostile):
    """They have another reaper than the daemon."""
    port = free_port()
    node = hostile({"web": python(LISTENER.format(port=port) + IGNORES + "time.sleep(1000)\n"),
                    "other": sleeper()})
    pid = node.wait_running("web")["pid"]
    other = node.wait_running("other")["pid"]
    wait(lambda: listens(port), "the listener")
    node.kill()
    node.start()
    assert node.wait_running("web")["pid"] == pid and listens(port)
    stop(node)
    assert can_bind(port)
    assert node.wait_running("other")["pid"] == other


def test_strangers_live_on(hostile, cluster):
    """What only looks like a part of the worker is nobody's to kill."""
    node = hostile({"web": python(IGNORES + "time.sleep(1000)\n"),
                    "twin": python("if orphan(): time.sleep(1000)\ntime.sleep(1000)\n")})
    pid = node.wait_running("web")["pid"]
    wait(lambda: len(cluster.workers("twin")) >= 2, "two processes")
    twin = set(cluster.workers("twin"))
    with open(f"/proc/{pid}/environ") as f:
        env = dict(x.split("=", 1) for x in f.read().split("\0") if x)
    near = [dict(env, PROCHUB_TOKEN="0" * 32), dict(env, PROCHUB_SOCKET="/elsewhere")]
    strangers = [subprocess.Popen(["sleep", "1000"], env=e, start_new_session=True) for e in near]
    try:
        stop(node)
        assert all(s.poll() is None for s in strangers)
        assert set(cluster.workers("twin")) == twin
    finally:
        for s in strangers:
            s.kill()
            s.wait()


def test_many_at_once(hostile, cluster):
    """Everything is gone when the daemon is, however much there was."""
    node = hostile({"web": python(
        "for i in range(3):\n"
        "    if orphan():\n"
        "        signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)\n"
        "time.sleep(1000)\n", instances=20)})
    wait(lambda: len(harness.processes_of("PROCHUB_SOCKET=" + node.run_dir)) >= 80, "all of them",
         timeout=60)
    node.stop()
