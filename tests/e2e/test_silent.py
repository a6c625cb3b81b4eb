"""Programs and folders on a file system that does not answer.

The daemon lives on as if nothing was: its other workers, its place in the cluster, its answers.
"""

import os
import signal
import time

import pytest

from harness import alive, kill, processes_of, wait
from raw import sh, sleeper
from silentfs import Silent

LATE = "not done in time, as where a file system does not answer"


@pytest.fixture
def silent(cluster):
    try:
        there = Silent(cluster.dir + "/silent")
    except OSError as e:
        pytest.skip(f"a file system of one's own needs root and FUSE: {e}")
    yield there
    there.end()


def add(node, **children):
    node.config["children"].update(children)
    node.write()
    node.process.send_signal(signal.SIGHUP)


def hanging(silent, instances=1):
    return {"command": [silent.folder + "/program"], "instances": instances,
            "placement": {"strategy": "local"}}


def in_folder(silent, instances=1):
    return {**sleeper(instances=instances), "dir": silent.folder + "/folder",
            "placement": {"strategy": "local"}}


def pids(node):
    return {(e["child"], e["instance"]): e["pid"] for e in node.status()["children"]
            if e["child"] == "good"}


def slowest_answer(node, seconds, tries=3):
    """In the best of some stretches of so many seconds: a busy machine is slow in one of them."""
    slowest, until = 0, time.time() + seconds
    while time.time() < until:
        asked = time.time()
        node.call("ping")
        slowest = max(slowest, time.time() - asked)
        time.sleep(0.03)
    if slowest < 1 or tries == 1:
        return slowest
    return min(slowest, slowest_answer(node, seconds, tries - 1))


def test_nobody_else_notices(cluster, silent):
    a, b = cluster.start("a", "b", children={"good": sleeper(instances=6)})  # fenced after 1.2 s
    cluster.wait_everywhere("good", 5)
    before = pids(a)
    add(a, bad=hanging(silent, 4), far=in_folder(silent, 4))
    a.wait_event("child_added", child="far")
    add(a, late={**sleeper(instances=20), "placement": {"strategy": "local"}})
    for instance in range(20):
        a.wait_running("late", instance)
    assert slowest_answer(a, 6) < 1
    assert pids(a) == before and all(alive(p) for p in before.values())
    add(a, lost={**sleeper(instances=2), "command": ["program"], "env": {"PATH": silent.folder + ":/usr/bin"},
                 "placement": {"strategy": "local"}},
        told={**sleeper(), "log": {"to": "file", "path": silent.folder + "/log"},
              "placement": {"strategy": "local"}})
    add(a, kept={**sleeper(instances=2), "env_file": silent.folder + "/env", "placement": {"strategy": "local"}})
    a.wait_event("child_added", child="kept")
    assert slowest_answer(a, 6) < 2
    assert pids(a) == before and all(alive(p) for p in before.values())
    for words in (f"cannot search PATH for 'program': ",
                  f"env_file: cannot open '{silent.folder}/env': ",
                  f"log.path: cannot open '{silent.folder}/log': ",
                  f"cannot execute '{silent.folder}/program': ",
                  f"cannot change to directory '{silent.folder}/folder': "):
        wait(lambda: f"cannot be started: {words}{LATE}" in a.log(), lambda: a.log())
    assert not b.events("node_suspect", "node_dead") and "fence_after" not in a.whole_log()


def test_it_answers_again(solo, silent, cluster):
    node = solo({"good": sleeper(), "bad": hanging(silent)})
    node.wait_running("good")
    time.sleep(0.3)
    silent.end()
    with open(silent.folder + "/program", "w") as f:
        f.write("#!/bin/sh\nexec sleep 100\n")
    os.chmod(silent.folder + "/program", 0o755)
    node.wait_running("bad")


def test_the_daemon_is_replaced_meanwhile(solo, silent, cluster):
    node = solo({"good": sleeper(instances=3), "bad": hanging(silent, 3)})
    before = [node.wait_running("good", i)["pid"] for i in range(3)]
    node.process.send_signal(signal.SIGUSR2)
    wait(lambda: "executing" in node.log(), lambda: node.log())
    assert [node.wait_running("good", i)["pid"] for i in range(3)] == before
    time.sleep(0.3)
    kill(node.process.pid)
    node.process.wait()
    node.start()
    assert [node.wait_running("good", i)["pid"] for i in range(3)] == before
    assert "starts of an earlier daemon had not come to an end: killed" in node.log()
    began = time.time()
    node.stop()
    assert time.time() - began < 8
    silent.end()
    wait(lambda: not processes_of(cluster.dir), "those that could not be killed end")


def test_checks_that_hang(solo, silent):
    """For longer than their number of processes that cannot be ended: others are started all the same."""
    node = solo({"good": sleeper(), "web": sh(
        "exec sleep 100", instances=12, health={"exec": f"{silent.folder}/check", "interval": "100ms"})})
    node.wait_running("good")
    assert slowest_answer(node, 6) < 1.5
    wait(lambda: f"cannot execute '{silent.folder}/check': {LATE}" in reasons(node), lambda: reasons(node))
    wait(lambda: "processes that were killed before they executed this program have not ended yet"
         in reasons(node), lambda: reasons(node))
    add(node, more={**sleeper(), "health": {"exec": "true", "interval": "100ms"}})
    node.wait_running("more")


def reasons(node):
    return " ".join(str(e.get("text") or e.get("reason")) for e in node.events()) + node.whole_log()


def test_checks_whose_env_file_hangs(solo, silent, cluster):
    """Each check reads it anew, as the child's next process would."""
    folder = cluster.dir + "/here"
    os.symlink(cluster.dir, folder)
    with open(cluster.dir + "/env", "w") as f:
        f.write("A=1\n")
    node = solo({"web": sh("exec sleep 100", instances=3, env_file=folder + "/env",
                           health={"exec": "sh -c 'test $A = 1'", "interval": "100ms", "failures": 1})})
    before = [node.wait_running("web", i)["pid"] for i in range(3)]
    time.sleep(0.5)
    assert [node.child("web", i)["pid"] for i in range(3)] == before
    os.symlink(silent.folder, folder + ".new")
    os.rename(folder + ".new", folder)
    assert slowest_answer(node, 4) < 2
    wait(lambda: f"env_file: cannot open '{folder}/env': {LATE}" in node.log(), node.log)
    began = time.time()
    node.stop()
    assert time.time() - began < 4
    silent.end()
    wait(lambda: not processes_of(cluster.dir), "those that could not be killed end")


def test_hooks_that_hang(solo, silent, cluster):
    far = {"on": ["child_added"], "command": [silent.folder + "/hook"], "timeout": "1s"}
    node = solo({"good": sleeper(instances=3)}, hooks={f"far{i}": far for i in range(8)})
    node.wait_running("good", 2)
    add(node, late=sleeper())
    assert slowest_answer(node, 2) < 1.2
    wait(lambda: "hook far7 (child_added late/0): cannot be started: cannot execute "
         f"'{silent.folder}/hook': {LATE}" in node.log(), node.log)
    node.wait_running("late")
    began = time.time()
    node.stop()
    assert time.time() - began < 4
    silent.end()
    wait(lambda: not processes_of(cluster.dir), "those that could not be killed end")


def test_a_hook_that_hangs_at_an_upgrade(solo, silent, cluster):
    """It is not lost: it has not begun yet, and so it is one of those that the next daemon runs."""
    made, real, folder = (cluster.dir + name for name in ("/made", "/real", "/here"))
    os.mkdir(real)
    with open(real + "/hook", "w") as f:
        f.write(f"#!/bin/sh\necho $PROCHUB_CHILD >>{made}\n")
    os.chmod(real + "/hook", 0o755)
    os.symlink(silent.folder, folder)
    node = solo({"good": sleeper()}, hooks={"far": {"on": ["child_ready"], "command": [folder + "/hook"]}})
    node.wait_running("good")
    time.sleep(0.3)
    os.symlink(real, folder + ".new")
    os.rename(folder + ".new", folder)
    node.process.send_signal(signal.SIGUSR2)
    wait(lambda: os.path.exists(made), node.log)
    add(node, late=sleeper())
    wait(lambda: "late" in open(made).read(), node.log)
    assert open(made).read() == "good\nlate\n" and "cannot be started" not in node.whole_log()
    silent.end()


def test_a_log_file_that_hangs(solo, silent, cluster):
    """What its child writes is not written, and no upgrade is begun that would never end."""
    folder = cluster.dir + "/here"
    os.symlink(cluster.dir, folder)
    node = solo({"good": sleeper(), "loud": sh(
        "while :; do echo x; sleep 0.1; done", log={"to": "file", "path": folder + "/log"})})
    node.wait_running("good")
    wait(lambda: os.path.exists(folder + "/log"), node.log)
    os.symlink(silent.folder, folder + ".new")
    os.rename(folder + ".new", folder)
    assert slowest_answer(node, 2) < 2
    node.process.send_signal(signal.SIGUSR2)
    wait(lambda: "does not take over: the output of children is not written" in node.log(), node.log)
    assert slowest_answer(node, 0.5) < 2
    node.process.terminate()
    wait(lambda: "the last output of workers may be lost" in node.log(), node.log)
    silent.end()
    assert node.process.wait(10) == 0
