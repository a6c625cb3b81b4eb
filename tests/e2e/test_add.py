"""Children at run time: add, remove, signal; where they are kept, and words typed wrongly."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import harness
from raw import sh, sleeper

sys.path.append(os.path.join(harness.ROOT, "lib", "python"))
import prochub  # noqa: E402


@pytest.fixture
def node(solo):
    return solo({"web": sleeper()})


def origin(node, child):
    entry = node.child(child)
    return entry and entry["origin"]


# ---- add

def test_forms_of_a_file(node, tmp_path):
    """With the word children or without it, YAML or JSON, from a file or standard input."""
    texts = ["children:\n  y1: {command: [sleep, '1000']}\n", "y2:\n  command: [sleep, '1000']\n",
             json.dumps({"children": {"j1": sleeper()}}), json.dumps({"j2": sleeper()}, indent=1)]
    for i, text in enumerate(texts):
        file = tmp_path / "c.yaml"
        file.write_text(text)
        done = node.ctl("add", str(file)) if i % 2 else node.ctl("add", "-", input=text)
        assert done.returncode == 0 and done.stdout.endswith(": running\n"), done
    for child in ("y1", "y2", "j1", "j2"):
        assert node.child(child)["ready"] and origin(node, child) == "added"
    assert origin(node, "web") == "file"
    assert node.call("show", child="y1")["origin"] == "added"
    assert "added" not in node.call("show", child="y1")["spec"]
    assert [e["child"] for e in node.events("child_added")] == ["y1", "y2", "j1", "j2"]


def test_an_object_by_the_socket(node):
    answer = node.call("add", config={"job": {"command": ["sleep", "1000"], "instances": 2}})
    assert answer["children"] == [{"child": "job", "instance": i, "result": "done"} for i in (0, 1)]
    assert node.call("add", config={"children": {"k": sleeper()}}, no_wait=True)["ok"]
    node.wait_running("k")
    assert node.call("remove", child="job")["children"] == [
        {"child": "job", "instance": None, "result": "done"}]
    assert node.child("job") is None and not node.cluster.workers("job", 1)


def test_defaults_of_the_file_count(node):
    node.ctl("add", "-", input="job: {command: [sleep, '1000']}")
    spec = node.call("show", child="job")["spec"]
    assert spec["stop_timeout"] == "1s" and spec["restart"]["intensity"] == 0


def test_kept_over_kills_and_restarts(node):
    assert node.ctl("add", "-", input=json.dumps({"job": sleeper(), "gone": sleeper()})).returncode == 0
    pid = node.child("job")["pid"]
    assert node.ctl("remove", "gone").returncode == 0
    node.kill()
    node.start()
    assert node.wait_running("job")["pid"] == pid and origin(node, "job") == "added"
    assert node.child("gone") is None
    node.stop()
    node.start()
    node.wait_running("job", pid=lambda p: p != pid)
    assert node.child("gone") is None


def test_no_file_at_all(cluster):
    """A daemon without a configuration takes children, as an ordinary user too."""
    home = cluster.dir + "/home"
    os.mkdir(home)
    os.chown(home, 65534, 65534)
    env = {"PATH": os.environ["PATH"], "HOME": home, "XDG_RUNTIME_DIR": home,
           "XDG_STATE_HOME": home + "/state", "PROCHUB_E2E": cluster.dir}
    if os.path.exists("/etc/prochub/prochub.yaml"):
        pytest.fail("this machine has a configuration of its own")
    who = {"env": env, "user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"}

    def ctl(*words, text=None):
        return subprocess.run([harness.CTL, *words], **who, capture_output=True, text=True,
                              timeout=20, input=text)
    for run in range(2):
        process = subprocess.Popen([harness.PROCHUBD], **who, stderr=subprocess.DEVNULL)
        try:
            harness.wait(lambda: ctl("nodes").returncode == 0, "it answers")
            if run == 0:
                done = ctl("add", "-", text="job: {command: [sleep, '1000']}")
                assert (done.returncode, done.stdout) == (0, "job: running\n"), done
            harness.wait(lambda: ctl("status", "job").returncode == 0, "it runs (again)")
            if run == 1:
                assert ctl("remove", "job").stdout == "job: removed\n"
                assert json.loads(ctl("status", "--json").stdout)["children"] == []
        finally:
            process.terminate()
            assert process.wait(10) == 0


def test_a_name_that_exists(node):
    pid = node.wait_running("web")["pid"]
    for text in (json.dumps({"web": sleeper()}), "web: {command: [true]}"):
        done = node.ctl("add", "-", "--json", input=text)
        answer = json.loads(done.stdout)
        assert done.returncode == 1 and answer["code"] == "exists" and "web" in answer["text"], done
    two = json.dumps({"job": sleeper(), "web": sleeper()})
    assert node.ctl("add", "-", input=two).returncode == 1
    assert node.child("job") is None and node.child("web")["pid"] == pid
    done = node.ctl("add", "-", "--keep-going", input=two)
    assert (done.returncode, done.stdout) == (5, "job: running\n"), done
    assert done.stderr.startswith("prochubctl: web: it exists already"), done
    again = json.dumps({"job": sleeper()})
    done = node.ctl("add", "-", input=again)
    assert (done.returncode, done.stdout) == (0, "job: unchanged\n"), done
    done = node.ctl("add", "-", input="job: {command: [sleep, '7']}")
    assert done.returncode == 1 and "with other options" in done.stderr


def test_all_or_nothing(node):
    text = json.dumps({"bad": sh("exec sleep 1000", ready="notify", start_timeout="60s"),
                       "good": sleeper()})
    process = subprocess.Popen([harness.CTL, "--socket", node.control_path, "add", "-",
                                "--timeout=3s", "--json"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    process.stdin.write(text)
    process.stdin.close()
    node.wait_running("good")
    assert process.wait(15) == 1
    answer = json.loads(process.stdout.read())
    process.stdout.close()
    assert answer["code"] == "timeout"
    assert {c["child"]: c["result"] for c in answer["children"]} == {"bad": "failed", "good": "failed"}
    assert node.child("good") is None and node.child("bad") is None
    assert not node.cluster.workers("good") and not node.cluster.workers("bad")
    done = node.ctl("add", "-", "--timeout=3s", "--keep-going", input=text)
    assert done.returncode == 5 and "good: running\n" == done.stdout, done
    assert node.child("good")["ready"] and node.child("bad")["state"] == "starting"


def test_one_that_fails_for_good(node):
    text = json.dumps({"bad": sh("exit 3", ready="notify", restart={"policy": "temporary"})})
    done = node.ctl("add", "-", input=text)
    assert done.returncode == 1 and done.stderr.startswith("prochubctl: bad: "), done
    assert "nothing was added" in done.stderr and node.child("bad") is None


def test_a_child_that_ends_itself(node):
    """A temporary one that is done is shown stopped until it is removed."""
    text = json.dumps({"job": sh("sleep 0.3; exit 0", restart={"policy": "temporary"})})
    assert node.ctl("add", "-", input=text).returncode == 0
    assert node.wait_child("job", state="stopped")["exit"] == {"code": 0}
    assert node.ctl("remove", "job").stdout == "job: removed\n"
    assert node.child("job") is None


WRONG = {
    "option": ("job: {comand: [a]}", r"-:1:7: children.job: unknown option 'comand', did you mean 'command'?"),
    "no command": ("job: {}", "children.job: 'command' is missing"),
    "name": ("'a b': {command: [a]}", "children: 'a b' is not"),
    "not yaml": ("job: [", "-:"),
    "section": ("children: {}\ncluster: {}", "'cluster' is not possible here, only 'children'"),
    "twice": ("j: {command: [a]}\nj: {command: [a]}", "stands twice"),
    "empty": ("", "there is no child in it"),
    "a list": ("[a]", "-:1:1"),
    "marker": ("j: {command: [a], added: true}", "unknown option 'added'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_texts(node, kind):
    text, message = WRONG[kind]
    done = node.ctl("add", "-", input=text)
    assert done.returncode == 2 and message in done.stderr and done.stdout == "", done
    assert len(node.status()["children"]) == 1


def test_sizes(node, tmp_path):
    """A megabyte is taken, in one line of the control socket; more is not."""
    file = tmp_path / "big.yaml"
    line = "# " + "x" * 98 + "\n"
    file.write_text("job: {command: [sleep, '1000']}\n" + line * 10000)
    assert node.ctl("add", str(file)).returncode == 0
    file.write_text("job2: {command: [sleep, '1000']}\n" + line * 11000)
    done = node.ctl("add", str(file))
    assert done.returncode == 2 and "larger than 1 MiB" in done.stderr, done
    for op, size in (("add", 1 << 20), ("status", 1 << 16)):
        with pytest.raises((harness.Refused, ConnectionError, BrokenPipeError)) as refused:
            node.call(op, config="# " + "x" * size)
        if refused.type is harness.Refused:
            assert refused.value.code == "bad_request"
    assert node.child("job")["ready"] and node.child("job2") is None


def test_after(node):
    """It may come after any child that there is, of a file or not."""
    done = node.ctl("add", "-", input=json.dumps({
        "db": sh("sleep 0.5; systemd-notify --ready; exec sleep 1000", ready="none"),
        "api": sleeper(after=["db", "web"])}))
    assert done.returncode == 0, done
    assert node.ctl("add", "-", input=json.dumps({"front": sleeper(after=["api"])})).returncode == 0
    done = node.ctl("add", "-", input=json.dumps({"x": sleeper(after=["nope"])}))
    assert done.returncode == 2 and "'nope' is not a child" in done.stderr, done


# ---- by patterns

def test_patterns_of_names(node):
    node.ctl("add", "-", input=json.dumps({"job-1": {**sleeper(), "instances": 2},
                                           "job-2": sleeper(), "jab": sleeper()}))

    def names(*words):
        done = node.ctl("status", "--json", *words)
        assert done.returncode == 0, done
        return [f"{c['child']}/{c['instance']}" for c in json.loads(done.stdout)["children"]]
    assert names("job-*") == ["job-1/0", "job-1/1", "job-2/0"]
    assert names("j?b*", "web") == ["jab/0", "job-1/0", "job-1/1", "job-2/0", "web/0"]
    assert names("[!j]*", "job-1/1") == ["job-1/1", "web/0"]
    done = node.ctl("stop", "job-*")
    assert (done.returncode, sorted(done.stdout.splitlines())) == (
        0, ["job-1/0: stopped", "job-1/1: stopped", "job-2: stopped"]), done
    assert node.child("jab")["state"] == "running"
    for words, code in ((["status", "x*"], 4), (["remove", "job-*", "x*"], 4), (["show", "j*"], 2),
                        (["move", "j*", "a"], 2), (["status", "job-*/1"], 2), (["status", "a b*"], 2)):
        done = node.ctl(*words)
        assert done.returncode == code and done.stderr, (words, done)
    assert len(names("j*")) == 4
    assert node.ctl("remove", "*").returncode == 1  # web is in a file: none of them
    assert node.ctl("remove", "j*").returncode == 0
    assert names() == ["web/0"]


# ---- by the Python module

@pytest.fixture
def control(node):
    with prochub.Control(node.control_path) as made:
        yield made


def test_the_module_adds_waits_and_removes(node, control):
    assert control.add({"job": {**sleeper(), "instances": 2}}, timeout=10) == [
        {"child": "job", "instance": i, "result": "done"} for i in (0, 1)]
    assert node.child("job", 1)["ready"]
    control.add("once: {command: [sleep, '0.3'], restart: {policy: temporary}}", wait=False)
    control.wait("once/0", "stopped", timeout=10)
    control.remove("job", "once", timeout=10)
    assert [c["child"] for c in node.status()["children"]] == ["web"]
    with pytest.raises(prochub.ControlError) as refused:
        control.remove("job")
    assert refused.value.code == "not_found"
    told = [line["event"] for line in control.call("events", timeout=5)["lines"]]
    assert told.count("child_added") == told.count("child_removed") == 2


def test_the_module_says_what_is_wrong(node, control):
    bad = sh("exec sleep 1000", ready="notify", start_timeout="60s")
    for code, config, more in (
            ("exists", {"web": sleeper(), "x": sleeper()}, {}),
            ("bad_request", "x: {comand: [a]}", {}),
            ("timeout", {"x": sleeper(), "bad": bad}, {"timeout": 0.7}),
            ("partly", {"good": sleeper(), "bad": bad}, {"timeout": 3, "keep_going": True})):
        with pytest.raises(prochub.ControlError) as refused:
            control.add(config, **more)
        assert refused.value.code == code and refused.value.text, refused.value
        assert node.child("x") is None
    assert {c["child"]: c["result"] for c in refused.value.answer["children"]} == {
        "good": "done", "bad": "failed"}
    assert node.child("good")["ready"]


def test_the_module_outlives_daemons(node, control):
    control.call("ping")
    node.process.send_signal(signal.SIGSTOP)
    with pytest.raises(prochub.ControlError) as refused:
        control.call("status", timeout=0.3)
    assert refused.value.code == "no_answer"
    node.kill()
    with pytest.raises(prochub.ControlError) as refused:
        control.call("ping")
    assert refused.value.code == "unreachable"
    node.start()
    assert "nodes" in control.call("status")
    node.kill()
    node.start()
    control.add({"job": sleeper()}, timeout=10)
    assert node.child("job")["ready"]


# ---- remove

def test_remove_waits_for_the_end(node):
    text = json.dumps({"slow": sh("trap 'sleep 0.7; exit 0' TERM; systemd-notify --ready; "
                                  "while :; do sleep 0.05; done", ready="notify", stop_timeout="15s")})
    assert node.ctl("add", "-", input=text).returncode == 0
    started = time.monotonic()
    assert node.ctl("remove", "slow").returncode == 0
    assert 0.6 < time.monotonic() - started < 12
    assert not node.cluster.workers("slow") and node.child("slow") is None
    assert node.events("child_removed")[-1]["child"] == "slow"


def test_what_cannot_be_removed(node):
    done = node.ctl("remove", "web")
    assert done.returncode == 1 and f"it stands in {node.file}:" in done.stderr, done
    assert node.ctl("remove", "nope").returncode == 4
    node.ctl("add", "-", input="job: {command: [sleep, '1000'], instances: 2}")
    done = node.ctl("remove", "job/1")
    assert done.returncode == 2 and "as a whole" in done.stderr, done
    assert node.ctl("remove", "job", "web").returncode == 1  # none of them
    assert node.child("job", 1)["ready"] and node.child("web")["ready"]


def test_words(node):
    for words, code in ((["add"], 2), (["add", "a", "b"], 2), (["add", "/nonexistent"], 2),
                        (["add", "/tmp"], 2), (["remove"], 2), (["remove", "-x"], 2),
                        (["remove", "a b"], 2), (["signal"], 2), (["signal", "HUP"], 2),
                        (["signal", "HUPP", "web"], 2), (["signal", "web", "HUP"], 2),
                        (["signal", "0", "web"], 2), (["signal", "65", "web"], 2),
                        (["signal", "HUP", "nope"], 4), (["signal", "HUP", "web/9"], 4),
                        (["add", "-", "--force"], 2), (["remove", "web", "--keep-going"], 2)):
        done = node.ctl(*words, input="")
        assert done.returncode == code and done.stderr.startswith("prochubctl: "), (words, done)
    assert node.ctl("add", "--help").returncode == node.ctl("signal", "--help").returncode == 0


# ---- signal

def test_signals(node):
    path = node.cluster.dir + "/got"
    traps = "; ".join(f"trap 'echo {s} >> {path}' {s}" for s in ("HUP", "USR1", "USR2"))
    text = json.dumps({"job": sh(traps + "; systemd-notify --ready; while :; do sleep 0.05; done",
                                 ready="notify")})
    assert node.ctl("add", "-", input=text).returncode == 0
    pid = node.child("job")["pid"]

    def got():
        return open(path).read().split() if os.path.exists(path) else []
    for i, word in enumerate(("HUP", "SIGUSR1", "usr2", "1"), 1):
        done = node.ctl("signal", word, "job")
        assert (done.returncode, done.stdout) == (0, "job: signalled\n"), done
        harness.wait(lambda n=i: len(got()) == n, got)
    assert got() == ["HUP", "USR1", "USR2", "HUP"] and node.child("job")["pid"] == pid
    node.call("signal", signal=9, child="job")
    node.wait_running("job", pid=lambda p: p != pid)
    node.ctl("stop", "job")
    done = node.ctl("signal", "HUP", "job")
    assert done.returncode == 1 and "it is not running" in done.stderr, done


# ---- in a cluster

def test_in_a_cluster(cluster):
    a, b, c = cluster.start("a", "b", "c")
    text = {"here": {**sleeper(), "placement": {"nodes": ["c"]}},
            "room": {**sleeper(), "instances": 6}}
    done = a.ctl("add", "-", input=json.dumps(text))
    assert done.returncode == 0, done
    for node in (a, b, c):
        assert node.wait_running("here")["node"] == "c" and origin(node, "room") == "added"
    assert len({a.child("room", i)["node"] for i in range(6)}) > 1
    assert b.ctl("signal", "TERM", "here").returncode == 0
    c.wait_event("child_exited", child="here")
    pid = c.wait_running("here", restarts=1)["pid"]
    # a node is gone with its workers: the others run what was added
    gone = next(n for n in (a, b) if n.name in {a.child("room", i)["node"] for i in range(6)})
    gone.kill_node()
    live = [n for n in (a, b, c) if n is not gone]
    for i in range(6):
        live[0].wait_running("room", i, node=lambda n: n != gone.name, timeout=15)
    done = live[1].ctl("remove", "room", "here")
    assert done.returncode == 0, done
    assert sorted(done.stdout.splitlines()) == ["here: removed", "room: removed"], done
    assert not harness.alive(pid)
    gone.start()  # it has the texts in its journal
    cluster.wait_members()
    time.sleep(3)
    for node in (a, b, c):
        assert node.status()["children"] == []
    assert not cluster.workers("room") and not cluster.workers("here")


@pytest.mark.parametrize("restarted", [False, True])
def test_a_new_one_of_its_name_begins_without_a_wish(cluster, restarted):
    """add, stop, remove, add again: it runs, and nobody thinks that it is to be stopped."""
    a, b = cluster.start("a", "b")
    text = json.dumps({"room": {**sleeper(), "placement": {"nodes": ["b"]}}})
    assert a.ctl("add", "-", input=text).returncode == 0
    assert a.ctl("stop", "room").returncode == 0
    for node in (a, b):
        node.wait_child("room", state="stopped", wanted=False)
    assert b.ctl("remove", "room").returncode == 0
    for node in (a, b):
        harness.wait(lambda n=node: n.child("room") is None, "it is gone")
    if restarted:
        for node in (a, b):
            node.kill()
            node.start()
        cluster.wait_members()
    done = a.ctl("add", "-", input=text)
    assert done.returncode == 0 and done.stdout == "room: running\n", done
    for node in (a, b):
        node.wait_child("room", state="running", wanted=True)


def test_a_file_takes_it_over(solo):
    node = solo({})
    node.ctl("add", "-", input=json.dumps({"job": sleeper()}))
    pid = node.child("job")["pid"]
    node.config["children"]["job"] = sleeper()
    node.write()
    assert node.ctl("reload").stdout == "added: job\n"
    assert node.wait_running("job")["pid"] == pid and origin(node, "job") == "file"
    done = node.ctl("remove", "job")
    assert done.returncode == 1 and node.file in done.stderr
    del node.config["children"]["job"]
    node.write()
    node.ctl("reload")
    harness.wait(lambda: node.child("job") is None, "it is gone with the file")


def test_the_example(node):
    """Each line a job; they are gone when they have ended, and one that fails is told."""
    example = os.path.join(harness.ROOT, "lib", "python", "examples", "jobs.py")
    script = node.cluster.dir + "/job"
    with open(script, "w", opener=lambda p, flags: os.open(p, flags, 0o755)) as f:
        f.write(f"#!/bin/sh\necho \"$2\" >> {node.cluster.dir}/done\n")
    done = subprocess.run([harness.PYTHON, example, script], input="one\n50%\n", text=True,
                          capture_output=True, timeout=30,
                          env={"PROCHUB_CONTROL": node.control_path})
    assert done.returncode == 0, done
    assert sorted(done.stdout.splitlines()) == ["50%: stopped on a", "one: stopped on a"], done
    with open(node.cluster.dir + "/done") as f:
        assert sorted(f.read().split()) == ["50%", "one"]
    assert [c["child"] for c in node.status()["children"]] == ["web"]
