"""What children and the service manager see of the daemon, and a disk that is full."""

import os
import signal
import socket
import subprocess
import time

import harness
from raw import counter, ends, raw, sleeper
from clients import Client

OWN = {"PROCHUB_SOCKET", "PROCHUB_TOKEN", "PROCHUB_CHILD", "PROCHUB_INSTANCE", "PROCHUB_REPLICA",
       "PROCHUB_NODE", "PROCHUB_EPOCH", "PROCHUB_ROLE", "NOTIFY_SOCKET"}
INHERITED = {"PATH", "LANG", "TZ"}
OF_USER = {"HOME", "USER", "LOGNAME", "SHELL"}


def environment(pid):
    def read():  # empty for a moment, while exec sets the process up
        with open(f"/proc/{pid}/environ") as f:
            return f.read()
    pairs = harness.wait(read, "an environment").split("\0")
    return dict(pair.split("=", 1) for pair in pairs if pair)


def test_environment_of_children(solo, cluster):
    env_file = cluster.dir + "/env"
    with open(env_file, "w") as f:
        f.write("# a comment\nFROM_FILE=1\nBOTH=file\n")
    node = cluster.node("a", alone=True, children={
        "bare": sleeper(instances=2),
        "rich": sleeper(env={"PORT": "80%i", "BOTH": "env", "PROCHUB_CHILD": "liar"},
                        env_file=env_file, watchdog="30s", user="nobody", dir="/usr")})
    node.env = {"LC_TIME": "C", "TZ": "UTC", "SECRET": "x", "NOTIFY_SOCKET": "/nowhere",
                "LISTEN_FDS": "1"}
    node.start()
    pid = node.wait_running("bare", 1)["pid"]
    env = environment(pid)
    assert set(env) - OF_USER == OWN | {"PATH", "TZ", "LC_TIME"}, env
    assert env["PROCHUB_SOCKET"] == node.run_dir + "/worker.sock"
    assert env["NOTIFY_SOCKET"] == node.run_dir + "/notify.sock"
    assert len(env["PROCHUB_TOKEN"]) == 32 and int(env["PROCHUB_TOKEN"], 16) > 0
    assert (env["PROCHUB_CHILD"], env["PROCHUB_INSTANCE"], env["PROCHUB_REPLICA"]) == \
        ("bare", "1", "0")
    assert (env["PROCHUB_NODE"], env["PROCHUB_ROLE"]) == ("a", "active")
    assert int(env["PROCHUB_EPOCH"]) == node.child("bare", 1)["epoch"]

    rich = node.wait_running("rich")["pid"]
    env = environment(rich)
    assert (env["PORT"], env["BOTH"], env["FROM_FILE"]) == ("800", "env", "1")
    assert env["PROCHUB_CHILD"] == "rich"
    assert (env["WATCHDOG_USEC"], env["WATCHDOG_PID"]) == ("30000000", str(rich))
    assert env["USER"] == env["LOGNAME"] == "nobody"
    assert os.stat(f"/proc/{rich}").st_uid == 65534
    assert os.readlink(f"/proc/{rich}/cwd") == "/usr"
    assert env["PROCHUB_TOKEN"] != environment(pid)["PROCHUB_TOKEN"]
    harness.wait(lambda: set(os.listdir(f"/proc/{rich}/fd")) == {"0", "1", "2"},  # it loads libraries
                 lambda: f"no more than three: {os.listdir(f'/proc/{rich}/fd')}")
    assert os.getsid(rich) == rich

    os.kill(pid, signal.SIGKILL)
    again = node.wait_running("bare", 1, pid=lambda p: p != pid)["pid"]
    assert environment(again)["PROCHUB_TOKEN"] != environment(rich)["PROCHUB_TOKEN"]


def test_each_place_of_a_template(solo, cluster):
    """In each option that has them %i, %r, %n, %c and %% are those of the instance; what a file or
    the environment holds is left as it is."""
    name, all_of = "%c-%i-%r-%n%%", ["web-0-0-a%", "web-1-0-a%"]
    for text in all_of:
        os.mkdir(f"{cluster.dir}/dir-{text}")
        with open(f"{cluster.dir}/vars-{text}", "w") as f:
            f.write(f"FILE=%i {text}\n")
    script = 'echo "$1|$ARG|$FILE|$PWD"; touch ready-$PROCHUB_INSTANCE; exec sleep 100000'
    node = solo({"web": {
        "instances": 2, "command": ["/bin/sh", "-c", script, "sh", name], "env": {"ARG": name},
        "dir": f"{cluster.dir}/dir-{name}", "env_file": f"{cluster.dir}/vars-{name}",
        "listen": {"x": f"unix:{cluster.dir}/sock-{name}"},
        "log": {"to": "file", "path": f"{cluster.dir}/log-{name}"}, "ready": "exec:test -e ready-%i",
        "health": {"exec": f"sh -c 'echo {name} >{cluster.dir}/health-%i'", "interval": "100ms"}}})
    for i, text in enumerate(all_of):
        node.wait_running("web", i)
        folder = f"{cluster.dir}/dir-{text}"
        with open(f"{cluster.dir}/log-{text}") as f:
            assert f.read() == f"{text}|{text}|%i {text}|{folder}\n"
        assert os.path.exists(f"{cluster.dir}/sock-{text}")
        asked = f"{cluster.dir}/health-{i}"
        harness.wait(lambda p=asked: os.path.exists(p) and open(p).read(), "a check")
        assert open(asked).read() == text + "\n"


def test_an_idle_daemon_sleeps(solo, cluster):
    """Without a cluster nothing wakes it, whatever its children are."""
    node = solo({"many": sleeper(instances=20), "hung": sleeper(watchdog="1h"),
                 "listens": sleeper(listen={"a": f"unix:{cluster.dir}/sock"}),
                 "writes": sleeper(log={"to": "file", "path": cluster.dir + "/log"}),
                 "off": sleeper(), "failed": {"command": ["/bin/false"], "restart": {
                     "intensity": 1, "backoff": "1ms", "on_limit": "retry", "retry_after": "1h"}}})
    node.ctl("stop", "off")
    node.wait_child("failed", state="failed")

    def wakes():
        n = 0
        for task in os.listdir(f"/proc/{node.process.pid}/task"):
            with open(f"/proc/{node.process.pid}/task/{task}/status") as f:
                n += int(f.read().split("\nvoluntary_ctxt_switches:")[1].split()[0])
        return n

    def slept():
        before = wakes()
        time.sleep(2)
        return wakes() == before
    harness.wait(slept, "two seconds without a wake-up", 15)


def test_modes_of_sockets(solo):
    node = solo({})
    mode = {name: os.stat(f"{node.run_dir}/{name}").st_mode & 0o777
            for name in ("control.sock", "worker.sock", "notify.sock")}
    assert mode == {"control.sock": 0o660, "worker.sock": 0o666, "notify.sock": 0o666}
    assert os.stat(node.run_dir).st_mode & 0o777 == 0o755
    assert os.stat(node.state_dir).st_mode & 0o777 == 0o700


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(8)

    def wait(self, word):
        while True:
            lines = self.socket.recv(4096).decode().split("\n")
            if any(line.startswith(word) for line in lines):
                return lines


def test_talks_to_the_service_manager(cluster):
    manager = Manager(cluster.dir + "/manager")
    node = cluster.node("a", {"web": sleeper()}, alone=True)
    node.env = {"NOTIFY_SOCKET": cluster.dir + "/manager", "WATCHDOG_USEC": "400000"}
    node.start(ready=False)
    manager.wait("READY=1")
    assert node.call("ping")["ok"]
    for _ in range(3):
        manager.wait("WATCHDOG=1")
    node.process.send_signal(signal.SIGHUP)
    assert any(line.startswith("MONOTONIC_USEC=") for line in manager.wait("RELOADING=1"))
    manager.wait("READY=1")
    node.process.send_signal(signal.SIGTERM)
    manager.wait("STOPPING=1")
    assert node.process.wait(10) == 0


def test_full_disk_under_the_journal(cluster):
    a, b = (cluster.node(name, {"room": counter(migration={"retention": "50ms"}),
                                "web": raw(cluster, "web")}) for name in "ab")
    for node in (a, b):
        os.makedirs(node.state_dir, mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "prochub-e2e",
                        node.state_dir], check=True)
    try:
        full_disk(cluster, a, b)
        for node in (a, b):
            node.stop()
    finally:
        for node in (a, b):
            if node.running:
                node.kill_node()
            subprocess.run(["umount", "-l", node.state_dir], check=True)


def full_disk(cluster, a, b):
    for node in (a, b):
        node.start(ready=False)
    a.wait_up(), b.wait_up()
    cluster.wait_members()
    client = Client(cluster, "room")
    client.acks(10)
    for node in (a, b):
        fill(node.state_dir + "/filler")
    refused = None
    for _ in range(60):  # the last page of the file still has room
        source, target = ends(cluster, "room")
        result = source.ctl("move", "room", target.name)
        if result.returncode:
            refused = result
            break
        cluster.wait_single("room")
    assert refused and refused.returncode == 1, refused
    failed = [node for node in (a, b) if node.events("journal_failed")]
    assert failed, refused
    client.acks(20)

    web, _ = ends(cluster, "web")
    pid = web.child("web")["pid"]
    os.kill(pid, signal.SIGKILL)
    web.wait_running("web", pid=lambda p: p != pid)

    for node in (a, b):
        os.unlink(node.state_dir + "/filler")
    source, target = ends(cluster, "room")
    harness.wait(lambda: source.ctl("move", "room", target.name).returncode == 0,
                 "a move once the disk has room again", 20, pause=0.3)
    client.finish()


def fill(path):
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"\0" * 4096)
        except OSError:
            pass
