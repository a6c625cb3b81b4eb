"""Whose processes children are, and what of the daemon's own they get: nothing but what was said."""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest

import harness
from harness import wait
from raw import sleeper

UID, GID, EXTRA = 54321, 54321, [54322, 54323]


@pytest.fixture
def peopled(cluster):
    """peopled(children, ...) starts a node whose machine has the user phtest, with two groups more."""
    for name, more in (("passwd", f"phtest:x:{UID}:{GID}::/home/phtest:/bin/dash\n"),
                       ("group", f"phtest:x:{GID}:\nphone:x:{EXTRA[0]}:phtest\n"
                        f"phtwo:x:{EXTRA[1]}:root,phtest\n")):
        with open("/etc/" + name) as old, open(f"{cluster.dir}/{name}", "w") as new:
            new.write(old.read() + more)

    def start(children, **more):
        node = cluster.node("a", children, alone=True)
        node.prefix = ["unshare", "-m", "/bin/sh", "-c",
                       f"mount --bind {cluster.dir}/passwd /etc/passwd && "
                       f"mount --bind {cluster.dir}/group /etc/group && exec \"$@\"", "sh"]
        return node.start(**more)
    return start


def status(pid):
    """The words of /proc/PID/status, once it has executed its program."""
    with open(f"/proc/{pid}/status") as f:
        return {k: v.split() for k, v in (line.rstrip("\n").split(":", 1) for line in f)}


def environment(pid):
    def read():
        with open(f"/proc/{pid}/environ") as f:
            return f.read()
    return dict(x.split("=", 1) for x in wait(read, "an environment").split("\0") if x)


def test_user_and_groups(peopled):
    node = peopled({"web": sleeper(user="phtest"), "other": sleeper(user="phtest", group="phone"),
                    "alone": sleeper(group="phtwo"), "number": sleeper(user=str(UID), group="777"),
                    "same": sleeper()})
    pids = {c: node.wait_running(c)["pid"] for c in ("web", "other", "alone", "number", "same")}
    web, other, alone, number, same = (status(pids[c]) for c in pids)
    assert web["Uid"] == [str(UID)] * 4 and web["Gid"] == [str(GID)] * 4
    assert sorted(map(int, web["Groups"])) == [GID, *EXTRA]
    assert other["Uid"] == [str(UID)] * 4 and other["Gid"] == [str(EXTRA[0])] * 4
    assert set(EXTRA) <= set(map(int, other["Groups"])) and str(GID) not in other["Groups"]
    assert alone["Uid"] == ["0"] * 4 and alone["Gid"] == [str(EXTRA[1])] * 4
    assert number["Uid"] == [str(UID)] * 4 and number["Gid"] == ["777"] * 4
    assert same["Uid"] == ["0"] * 4
    assert int(web["CapEff"][0], 16) == 0
    env = environment(pids["web"])
    assert [env[k] for k in ("HOME", "USER", "LOGNAME", "SHELL")] == \
        ["/home/phtest", "phtest", "phtest", "/bin/dash"]


def test_umask_and_folder(solo, cluster):
    node = solo({"web": sleeper(umask="027", dir="/usr"), "bare": sleeper()})
    web, bare = node.wait_running("web")["pid"], node.wait_running("bare")["pid"]
    assert status(web)["Umask"] == ["0027"] and status(bare)["Umask"] == ["0022"]
    assert os.readlink(f"/proc/{web}/cwd") == "/usr"


def test_new_privileges(solo):
    node = solo({"kept": sleeper(), "given": sleeper(no_new_privileges=True, user="nobody")})
    kept, given = (status(node.wait_running(c)["pid"]) for c in ("kept", "given"))
    assert kept["NoNewPrivs"] == ["0"] and given["NoNewPrivs"] == ["1"]
    assert given["Uid"] == ["65534"] * 4


def test_signals_and_descriptors_are_not_inherited(cluster):
    """Whatever the daemon was started with."""
    node = cluster.node("a", {"web": sleeper()}, alone=True)
    ends = os.pipe()
    try:
        node.start(pass_fds=ends, preexec_fn=lambda: (
            signal.signal(signal.SIGTERM, signal.SIG_IGN), signal.signal(signal.SIGUSR1,
                                                                         signal.SIG_IGN),
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGCHLD})))
    finally:
        os.close(ends[0])
        os.close(ends[1])
    pid = node.wait_running("web")["pid"]
    said = status(pid)
    assert [said[k] for k in ("SigBlk", "SigIgn", "SigCgt")] == [["0" * 16]] * 3
    harness.wait(lambda: set(os.listdir(f"/proc/{pid}/fd")) == {"0", "1", "2"},  # it loads libraries
                 lambda: f"no more than three: {os.listdir(f'/proc/{pid}/fd')}")
    assert os.getsid(pid) == os.getpgid(pid) == pid


def check(node):
    node.write()
    return subprocess.run([harness.PROCHUBD, "-t", "-c", node.file], capture_output=True, text=True)


def test_wrong_user_and_group_are_refused(cluster):
    node = cluster.node("a", {"web": sleeper(user="no-such-user"),
                              "job": sleeper(group="no-such-group"),
                              "fine": sleeper(user="65534", group="4321")}, alone=True)
    said = check(node)
    assert said.returncode == 2
    assert re.search(r"prochub\.yaml:\d+:\d+: children\.web\.user: no user 'no-such-user' on this "
                     "machine", said.stderr), said.stderr
    assert re.search(r"prochub\.yaml:\d+:\d+: children\.job\.group: no group 'no-such-group' on "
                     "this machine", said.stderr), said.stderr
    assert "children.fine" not in said.stderr


def test_not_root_is_refused_by_name(cluster):
    node = cluster.node("a", {"web": sleeper(user="nobody", group="nogroup")}, alone=True)
    node.write()
    os.chmod(node.file, 0o644)
    said = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                           harness.PROCHUBD, "-t", "-c", node.file], capture_output=True, text=True)
    assert said.returncode == 2
    for option in ("user", "group"):
        assert re.search(rf"prochub\.yaml:\d+:\d+: children\.web\.{option}: only a daemon of root "
                         "can set it", said.stderr), said.stderr


def test_daemon_without_a_name(cluster):
    """As in a container that runs as any number: its children run as that."""
    node = cluster.node("a", {"web": sleeper()}, alone=True)
    os.chmod(cluster.dir, 0o755)
    os.chown(node.dir, 3999999, 3999999)
    node.prefix = ["setpriv", "--reuid", "3999999", "--regid", "3999999", "--clear-groups"]
    node.start()
    pid = node.wait_running("web")["pid"]
    assert status(pid)["Uid"] == ["3999999"] * 4
    assert [environment(pid)[k] for k in ("USER", "HOME", "SHELL")] == ["3999999", "/", "/bin/sh"]
    assert "note: " not in check(node).stdout


MISSING = {
    "dir": ({"dir": "/no/such/folder"},
            "cannot change to directory '/no/such/folder': No such file or directory"),
    "env_file": ({"env_file": "/no/such/file"}, "/no/such/file"),
    "command": ({"command": ["/no/such/program"]},
                "cannot execute '/no/such/program': No such file or directory"),
    "in PATH": ({"command": ["no-such-program"]}, "'no-such-program' is not in PATH"),
    "of the user": ({"user": "nobody"}, "cannot execute '.*/closed/sleep': Permission denied"),
    "dir of the user": ({"user": "nobody"},
                        "cannot change to directory '.*/closed': Permission denied"),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_is_missing_here_is_noted(cluster, what):
    """By -t with its place, and by the daemon when it cannot start the child."""
    more, text = MISSING[what]
    if what == "of the user":
        os.mkdir(cluster.dir + "/closed", mode=0o700)
        shutil.copy("/bin/sleep", cluster.dir + "/closed")
        more = {**more, "command": [cluster.dir + "/closed/sleep", "1000"]}
    if what == "dir of the user":
        os.mkdir(cluster.dir + "/closed", mode=0o700)
        more = {**more, "dir": cluster.dir + "/closed"}
    node = cluster.node("a", {"web": {**sleeper(restart={"backoff": "10s"}), **more}}, alone=True)
    said = check(node)
    assert said.returncode == 0, said.stderr
    option = {"in PATH": "command", "of the user": "command", "dir of the user": "dir"}.get(
        what, what)
    line = rf"note: .*prochub\.yaml:\d+:\d+: children\.web\.{option}: "
    found = re.search(line + "(.*)", said.stdout)
    assert found and "env_file: " not in found.group(1) and re.search(text, found.group(1)), said.stdout
    node.start()
    event = node.wait_event("child_restarting", child="web")
    assert re.search(text, event["text"]) and not cluster.workers("web")


CHECKS = {
    "ready": ({"ready": "exec:/no/such/%c --fast"}, "cannot execute '/no/such/web': No such file"),
    "ready in PATH": ({"ready": "exec:no-such-%i"}, "'no-such-0' is not in PATH"),
    "health.exec": ({"health": {"exec": "/no/such/check"}}, "cannot execute '/no/such/check'"),
    "health.exec of the user": ({"health": {"exec": "/etc/shadow"}}, "Permission denied"),
    # what the daemon opened for the child itself accepts, whatever the child does
    "ready of a listener": ({"ready": "tcp:[18080+%i]", "listen": {"x": "tcp://0.0.0.0:[18080+%i]"}},
                            "always succeeds"),
    "health.tcp of a listener": ({"health": {"tcp": "[::1]:18080"}, "listen": {"x": "tcp://[::1]:18080"}},
                                 "always succeeds"),
}


@pytest.mark.parametrize("what", CHECKS)
def test_a_check_that_tells_nothing_is_noted(cluster, what):
    more, text = CHECKS[what]
    node = cluster.node("a", {"web": sleeper(user="nobody", **more)}, alone=True)
    said = check(node)
    assert said.returncode == 0, said.stderr
    assert re.search(rf"note: .*:\d+:\d+: children\.web\.{what.split()[0]}: .*{text}", said.stdout), said


def test_what_is_there_is_not_noted(cluster):
    node = cluster.node("a", {"web": sleeper(user="nobody", dir="/", env={"A": "%i"}),
                              "port": {"command": ["sleep", "1"], "ready": "tcp:127.0.0.1:18081",
                                       "listen": {"x": "tcp://127.0.0.2:18081"},
                                       "health": {"http": "http://127.0.0.2:18081/"}},
                              "name": {"command": ["sleep", "1"], "ready": "exec:true",
                                       "health": {"exec": "sh -c 'exit 1'"}}}, alone=True)
    said = check(node)
    assert said.returncode == 0 and "note: " not in said.stdout, said.stdout


def test_a_directory_of_users_that_does_not_answer(peopled, cluster):
    """A pipe without a writer stands where the users are, as LDAP behind a server that is gone."""
    node = peopled({"good": sleeper(), "known": {**sleeper(), "user": "phtest"}})
    before = [node.wait_running(child)["pid"] for child in ("good", "known")]
    os.mkfifo(cluster.dir + "/silent")
    inside = ["nsenter", "-m", "-r", "-t", str(node.process.pid)]
    subprocess.run([*inside, "mount", "--bind", cluster.dir + "/silent", "/etc/passwd"], check=True)
    node.config["children"]["new"] = {**sleeper(instances=3), "user": "phtest"}
    node.write()
    node.process.send_signal(signal.SIGHUP)
    slowest, until = 0, time.time() + 7
    while time.time() < until:
        asked = time.time()
        node.call("ping")
        slowest = max(slowest, time.time() - asked)
        time.sleep(0.03)
    assert slowest < 2
    wait(lambda: "new/2 cannot be started: user 'phtest' cannot be looked up: not done in time, as "
         "where a directory of users does not answer" in node.log(), node.log)
    assert [node.wait_running(child)["pid"] for child in ("good", "known")] == before
    subprocess.run([*inside, "umount", "-l", "/etc/passwd"], check=True)
    with open(cluster.dir + "/silent", "w"):
        pass  # who waits finds it empty, and asks no more
    assert status(node.wait_running("new", 2, timeout=20)["pid"])["Uid"] == [str(UID)] * 4
