"""The lines of a child, asked for on any node; followed while it moves."""

import json
import os
import re
import signal
import subprocess
import threading
import time

import harness
from harness import wait


def shell(text, **more):
    return {"command": ["/bin/sh", "-c", text], "stop_timeout": "1s", **more}


def ticker(**more):
    """Numbered lines, one each 10 ms, from its own start on."""
    return shell("i=0; while :; do echo tick $PROCHUB_NODE $i; i=$((i+1)); sleep 0.01; done", **more)


class Follower:
    """`logs -f` in a thread."""

    def __init__(self, node, child, **fields):
        self.control = node.control()
        self.lines, self.ended = [], None
        self.control.send("logs", child=child, follow=True, **fields)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while True:
                line = self.control.read()
                if not line.get("more"):
                    self.ended = line
                    return
                self.lines.append(line)
        except (OSError, ValueError, ConnectionError):
            pass

    def texts(self):
        return [line["text"] for line in list(self.lines)]

    def close(self):
        self.control.socket.shutdown(2)
        self.thread.join(5)
        self.control.close()


def logs(node, child, **fields):
    lines = []
    with node.control() as control:
        control.call("logs", child=child, on_more=lines.append, **fields)
    return lines


# ---- one node

def test_last_lines(solo):
    node = solo({"web": shell("for i in $(seq 1 20); do echo line $i; done; sleep 600")})
    wait(lambda: logs(node, "web"), "lines")
    lines = wait(lambda: [l for l in logs(node, "web") if l["text"] == "line 20"]
                 and logs(node, "web"), "the last one")
    assert [l["text"] for l in lines] == [f"line {i}" for i in range(11, 21)]
    assert {l["child"] for l in lines} == {"web"} and {l["node"] for l in lines} == {"a"}
    assert {l["instance"] for l in lines} == {0}
    assert all(abs(harness.age_s(l["time"])) < 20 for l in lines)
    assert [l["text"] for l in logs(node, "web", lines=2)] == ["line 19", "line 20"]
    assert logs(node, "web", lines=0) == []
    assert len(logs(node, "web", lines=100)) == 20
    done = node.ctl("logs", "web", "-n", "3")
    assert (done.returncode, done.stdout) == (0, "line 18\nline 19\nline 20\n")
    assert node.ctl("logs", "web/0", "-n2").stdout == "line 19\nline 20\n"
    done = node.ctl("logs", "web", "-n", "1", "--json")
    assert json.loads(done.stdout)["text"] == "line 20"


def test_file_of_an_earlier_daemon(solo, cluster):
    path = cluster.dir + "/log"
    with open(path + ".1", "w") as f:
        f.write("one\ntwo\n")
    with open(path, "w") as f:
        f.write("three\n")
    node = solo({"web": {**shell("echo four; sleep 600"),
                         "log": {"to": "file", "path": path}}})
    lines = wait(lambda: [l for l in logs(node, "web", lines=3) if l["text"] == "four"]
                 and logs(node, "web", lines=3), "a line")
    assert [(l["text"], l["time"] is None) for l in lines] == [
        ("two", True), ("three", True), ("four", False)]


def test_last_words_of_one_that_failed(solo):
    node = solo({"web": shell("echo what went wrong >&2; exit 1",
                              restart={"policy": "temporary"})})
    wait(lambda: logs(node, "web"), "its last words")
    node.wait_child("web", state=lambda state: state != "running")
    assert logs(node, "web")[0]["text"] == "what went wrong"


def test_instances_have_prefixes(solo):
    node = solo({"room": {**shell("echo I am $PROCHUB_INSTANCE; sleep 600"), "instances": 3}})
    wait(lambda: len(logs(node, "room")) == 3, "three lines")
    done = node.ctl("logs", "room")
    assert done.stdout == "room/0: I am 0\nroom/1: I am 1\nroom/2: I am 2\n"
    assert node.ctl("logs", "room/1").stdout == "I am 1\n"
    assert [l["instances"] for l in logs(node, "room")] == [3, 3, 3]


def test_what_cannot_be_shown(solo):
    node = solo({"web": {**shell("echo x; sleep 600"), "log": {"to": "null"}}})
    for args, status, words in (
            (["none"], 4, "no such child: none"), (["web/7"], 4, "no such child: web/7"),
            (["web"], 1, "web writes nowhere: its log.to is null"),
            ([], 2, "'logs' needs CHILD"), (["web", "-n", "x"], 2, "is not a whole number"),
            (["web", "-n", "10001"], 2, "0 to 10000"), (["we b"], 2, "NAME/INSTANCE")):
        done = node.ctl("logs", *args)
        assert (done.returncode, words in done.stderr) == (status, True), done


def test_follow(solo):
    node = solo({"web": ticker(), "other": ticker()})
    wait(lambda: logs(node, "web"), "a line")
    follower = Follower(node, "web", lines=1)
    wait(lambda: len(follower.lines) > 30, "lines")
    found = [int(t.split()[2]) for t in follower.texts()]
    assert found == list(range(found[0], found[0] + len(found)))
    node.call("restart", child="web")
    wait(lambda: "tick a 0" in follower.texts(), "those of its successor")
    follower.close()


def test_follow_with_the_command(solo):
    node = solo({"web": ticker()})
    node.wait_running("web")
    # who runs the tests in the background ignores SIGINT, and so would what it starts
    with subprocess.Popen([harness.CTL, "--socket", node.control_path, "logs", "-f", "web"],
                          stdout=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(
                              signal.SIGINT, signal.SIG_DFL)) as process:
        lines = [process.stdout.readline() for _ in range(30)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert all(re.fullmatch(r"tick a \d+\n", line) for line in lines)


def test_hostile_text(solo):
    """Whatever bytes there are: a line of JSON each, and nothing that a terminal would obey."""
    node = solo({"web": shell(r"printf 'a\000b\033[31m\377\302\237\tz\n'; sleep 600")})
    line = wait(lambda: logs(node, "web"), "a line")[0]
    assert line["text"].startswith("a?b\x1b[31m") and line["text"].endswith("\tz")


def test_reader_that_does_not_read(solo):
    """It is dropped after a while; the child and the daemon do not notice."""
    node = solo({"flood": shell("exec yes 'a line of a flood that nobody reads'")})
    node.wait_running("flood")
    control = node.control()
    control.send("logs", child="flood", follow=True)

    def memory():
        with open(f"/proc/{node.process.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
    harness.answers_at_once(lambda: node.call("ping"), 3, 0.5, "beside a reader that does not read")
    assert memory() < 60000
    assert len(logs(node, "flood", lines=5)) == 5

    def dropped():
        control.socket.settimeout(0.01)
        try:
            return not control.socket.recv(1 << 20)
        except TimeoutError:
            return False
        except OSError:
            return True
    time.sleep(9)
    wait(dropped, "it is dropped", 20, pause=0)
    control.close()


# ---- from node to node

def test_asked_on_another_node(cluster):
    a, b = cluster.start("a", "b", children={"web": {**ticker(), "placement": {"nodes": ["b"]}}})
    b.wait_running("web")
    lines = wait(lambda: len(logs(a, "web", lines=3)) == 3 and logs(a, "web", lines=3),
                 "lines of the other node")
    assert len(lines) == 3 and {l["node"] for l in lines} == {"b"}
    assert a.ctl("logs", "web", "-n", "2").stdout.startswith("tick b ")
    follower = Follower(a, "web", lines=0)
    wait(lambda: len(follower.lines) > 100, "lines")
    found = [int(t.split()[2]) for t in follower.texts()]
    assert found == list(range(found[0], found[0] + len(found)))
    assert all(abs(harness.age_s(l["time"])) < 20 for l in follower.lines)
    follower.close()


def test_one_on_each_node(cluster):
    children = {"agent": {**ticker(), "placement": {"strategy": "local"}}}
    a, b = cluster.start("a", "b", children=children)
    wait(lambda: {l["node"] for l in logs(a, "agent")} == {"a", "b"}, "lines of both nodes")
    follower = Follower(b, "agent", lines=0)
    wait(lambda: {l["node"] for l in list(follower.lines)} == {"a", "b"}, "lines of both nodes")
    follower.close()


def test_followed_over_a_move(cluster):
    """All that the old worker writes to its end, and all that the new one writes from its start."""
    children = {"web": ticker(migration={**harness.FAST, "handover": "false"})}
    a, b = cluster.start("a", "b", children=children)
    owner = a.wait_running("web")["node"]
    other = {"a": "b", "b": "a"}[owner]
    at_owner, at_other = cluster.nodes[owner], cluster.nodes[other]
    followers = [Follower(at_owner, "web", lines=0), Follower(at_other, "web", lines=0)]
    for f in followers:
        wait(lambda: len(f.lines) > 20, "lines of the first node")
    a.call("move", child="web", node=other)
    at_other.wait_running("web", node=other)
    for f in followers:
        wait(lambda: len([t for t in f.texts() if t.startswith(f"tick {other} ")]) > 100,
             lambda: f"lines of the second node: {f.texts()[-3:]}")
        for node in (owner, other):
            found = [int(t.split()[2]) for t in f.texts() if t.startswith(f"tick {node} ")]
            assert found == list(range(found[0], found[0] + len(found))), node
            assert node == owner or found[0] == 0
    # and back: nothing of its first stay comes again
    before = [len(f.lines) for f in followers]
    a.call("move", child="web", node=owner)
    for f, n in zip(followers, before):
        wait(lambda: len([t for t in f.texts()[n:] if t.startswith(f"tick {owner} ")]) > 100,
             "lines of the first node again")
        again = [int(t.split()[2]) for t in f.texts()[n:] if t.startswith(f"tick {owner} ")]
        assert again == list(range(len(again)))
        f.close()


def test_daemon_of_the_other_node_is_killed(cluster):
    a, b = cluster.start("a", "b", children={"web": {**ticker(), "placement": {"nodes": ["b"]}}})
    b.wait_running("web")
    follower = Follower(a, "web", lines=0)
    wait(lambda: len(follower.lines) > 20, "lines")
    b.kill()
    b.start()
    n = len(follower.lines)
    wait(lambda: len(follower.lines) > n + 100, "lines after it", 20)
    found = [int(t.split()[2]) for t in follower.texts()]
    assert len(set(found)) > len(found) - 5  # what was just being written may come twice
    follower.close()


def test_many_lines_of_another_node(cluster):
    """More than a message holds, all of them, in order."""
    text = "for i in $(seq 1 9000); do echo $i xxxxxxxxxxxxxxxxxxxxxxxxxxx; done; sleep 600"
    a, b = cluster.start("a", "b", children={
        "web": {**shell(text), "placement": {"nodes": ["b"]},
                "log": {"to": "file", "path": cluster.dir + "/%n-log"}}})
    path = cluster.dir + "/b-log"
    size = sum(len(f"{i} {'x' * 27}\n") for i in range(1, 9001))
    wait(lambda: os.path.exists(path) and os.path.getsize(path) == size, "all is written")
    lines = logs(a, "web", lines=9000)
    assert [int(l["text"].split()[0]) for l in lines] == list(range(1, 9001))


def test_flood_is_followed(cluster):
    """Those who read it along neither hold up the daemons nor their heartbeats."""
    a, b = cluster.start("a", "b", children={
        "flood": {**shell("exec yes 'a line of a flood'"), "placement": {"nodes": ["b"]}}})
    b.wait_running("flood")
    followers = [Follower(node, "flood", lines=0) for node in (a, b, a)]
    for node in (a, b):
        harness.answers_at_once(lambda: node.call("ping"), 2, 0.5, f"{node.name} in a flood")
    for f in followers:
        assert len(f.lines) > 1000 and any(line.get("gap") for line in list(f.lines))
        f.close()
    for node in (a, b):
        assert not node.events("node_suspect", "node_dead")


def test_owner_that_does_not_answer(cluster):
    """A node that is there and says nothing: told after a while, not waited for."""
    a, b = cluster.start("a", "b", children={"web": {**ticker(), "placement": {"nodes": ["b"]}}},
                         cluster={"failure_timeout": "60s"})
    b.wait_running("web")
    wait(lambda: logs(a, "web"), "lines")
    b.process.send_signal(signal.SIGSTOP)
    try:
        done = a.ctl("logs", "web")
        assert done.returncode == 1 and "node b: it does not answer" in done.stderr
    finally:
        b.process.send_signal(signal.SIGCONT)
    b.wait_running("web")
