"""Restart policies: who is started again, when, how often, and what then."""

import json
import os
import signal
import time

import harness
import pytest
from raw import sh, sleeper

QUICK = {"backoff": "20ms", "intensity": 3, "within": "1m"}


@pytest.mark.parametrize("policy,script,again", [
    ("permanent", "exit 0", True), ("permanent", "exit 7", True),
    ("permanent", "kill -9 $$", True),
    ("transient", "exit 0", False), ("transient", "exit 7", True),
    ("transient", "kill -15 $$", True),
    ("temporary", "exit 0", False), ("temporary", "exit 7", False),
    ("temporary", "kill -9 $$", False),
])
def test_policy(solo, cluster, policy, script, again):
    once = f"[ -e {cluster.dir}/done ] && exec sleep 1000000; touch {cluster.dir}/done; {script}"
    node = solo({"web": sh(once, restart={"policy": policy})})
    if again:
        assert node.wait_running("web", restarts=1)
        assert node.wait_event("child_restarting", child="web")["delay_ms"] == 0
    else:
        entry = node.wait_child("web", state="stopped")
        assert entry["restarts"] == 0 and not entry["wanted"]
        node.wait_event("child_stopped", child="web")
        assert node.ctl("status").returncode == 0  # it is done, and nothing is missing


def test_back_off_doubles(solo):
    node = solo({"web": sh("exit 1", restart={
        "backoff": "40ms", "backoff_max": "150ms", "jitter": "0%", "intensity": 6,
        "on_limit": "fail"})})
    node.wait_child("web", state="failed", timeout=20)
    waits = [e["delay_ms"] for e in node.events("child_restarting")]
    assert waits == [0, 40, 80, 150, 150, 150]
    assert node.child("web")["restarts"] == 6
    failed = node.wait_event("child_failed", child="web")
    assert "restart.intensity" in failed["text"]


def test_limit_then_retry(solo):
    node = solo({"web": sh("exit 1", restart={**QUICK, "on_limit": "retry", "retry_after": "1s"})})
    node.wait_child("web", state="failed", timeout=20)
    harness.wait(lambda: len(node.events("child_failed")) == 2, "it fails a second time", 20)
    first, second = [e["seq"] for e in node.events("child_failed")]
    starts = [e["seq"] for e in node.events("child_starting") if e["seq"] < second]
    assert (len([s for s in starts if s < first]), len(starts)) == (4, 8)


def test_elsewhere(cluster):
    """At the limit another node takes it; where it fails as well it is tried again there."""
    bad = f"[ -e {cluster.dir}/bad-$PROCHUB_NODE ] && exit 1; exec sleep 1000000"
    children = {"web": sh(bad, restart={**QUICK, "on_limit": "elsewhere", "retry_after": "1s"})}
    a, b = cluster.start("a", "b", children=children)
    first = cluster.wait_everywhere("web")
    source = cluster.nodes[first["node"]]
    other = b if source is a else a
    open(f"{cluster.dir}/bad-{source.name}", "w").close()
    os.kill(first["pid"], signal.SIGKILL)
    cluster.wait_everywhere("web", node=other.name, timeout=20)
    failed = source.wait_event("child_failed", child="web")
    assert "another node takes it" in failed["text"], failed
    assert len(source.events("child_starting")) == 4
    open(f"{cluster.dir}/bad-{other.name}", "w").close()
    os.kill(other.child("web")["pid"], signal.SIGKILL)
    other.wait_child("web", state="failed", node=other.name, timeout=20)
    os.unlink(f"{cluster.dir}/bad-{other.name}")
    cluster.wait_everywhere("web", node=other.name, timeout=20)


def test_elsewhere_alone(solo):
    node = solo({"web": sh("exit 1", restart={**QUICK, "on_limit": "elsewhere",
                                              "retry_after": "1s"})})
    node.wait_child("web", state="failed", timeout=20)
    harness.wait(lambda: len(node.events("child_failed")) == 2, "it is tried again", 20)


@pytest.mark.parametrize("script,ended,words", [
    ("exit 7", {"code": 7}, "exit code 7"),
    ("kill -15 $$", {"signal": 15, "core": False}, "killed by SIGTERM"),
    ("kill -9 $$", {"signal": 9, "core": False}, "killed by SIGKILL"),
])
def test_how_it_ended(solo, script, ended, words):
    node = solo({"web": sh(script, restart={"policy": "temporary"})})
    assert node.wait_child("web", state="stopped")["exit"] == ended
    assert node.wait_event("child_exited", child="web")["exit"] == ended
    assert words in node.ctl("status").stdout and words in node.ctl("show", "web").stdout


def test_a_core_dump(solo, cluster):
    """As the kernel says it: where cores are written at all, and they need no pipe."""
    with open("/proc/sys/kernel/core_pattern") as f:
        pattern = f.read().strip()
    if pattern.startswith("|"):
        pytest.skip("cores go to a program of this machine")
    node = solo({"web": sh(f"cd {cluster.dir}; ulimit -c unlimited; kill -11 $$",
                           restart={"policy": "temporary"})})
    entry = node.wait_child("web", state="stopped")
    assert entry["exit"] == {"signal": 11, "core": True}
    assert "killed by SIGSEGV (core dumped)" in node.ctl("status").stdout


def test_ended_unseen(solo):
    node = solo({"web": sleeper(restart={"policy": "transient"})})
    pid = node.wait_running("web")["pid"]
    node.kill()
    harness.kill(pid)
    harness.wait(lambda: not harness.alive(pid), "it is gone")
    node.start()
    node.wait_running("web", pid=lambda p: p not in (None, pid))


def test_a_healthy_time_ends_the_streak(solo, cluster):
    """Ready for ten seconds: the next restart is at once again."""
    node = solo({"web": sleeper(restart={"backoff": "100ms", "backoff_max": "1s", "jitter": "0%",
                                         "intensity": 0})})
    for wait in (0, 100):
        pid = node.wait_running("web")["pid"]
        harness.kill(pid)
        node.wait_running("web", pid=lambda p, old=pid: p not in (None, old))
        assert node.events("child_restarting")[-1]["delay_ms"] == wait
    pid = node.child("web")["pid"]
    node.wait_child("web", since_ms=lambda ms: ms > 10100, timeout=15)
    harness.kill(pid)
    node.wait_running("web", pid=lambda p: p not in (None, pid))
    assert node.events("child_restarting")[-1]["delay_ms"] == 0


def kept(node, word="done"):
    with open(node.config["node"]["run_dir"] + "/state", encoding="utf-8") as file:
        state = json.load(file)
    return [] if state["workers"] else state.get(word, [])


def renew(node, again, ends_are_kept):
    """Another daemon, after a kill or by an upgrade."""
    if again == "killed":
        # an end is in the state file within 100 ms; one that is not was seen by nobody
        harness.wait(ends_are_kept, "all ends are kept")
        node.kill()
        node.start()
    else:
        begun = node.whole_log().count("signal USR2: executing")
        node.process.send_signal(signal.SIGUSR2)
        harness.wait(lambda: node.whole_log().count("signal USR2: executing") > begun, "executed")
        node.wait_up()
    harness.wait(lambda: node.status()["nodes"][0]["state"] == "alive", "ready again")


@pytest.mark.parametrize("again", ["killed", "upgraded"])
def test_what_is_done_stays_done(solo, cluster, again):
    """A job that has run is not run again because its daemon was killed, or replaced by a new one."""
    runs = f"echo x >>{cluster.dir}/runs-%c; exit "
    node = solo({"job": sh(runs + "4", restart={"policy": "temporary"}),
                 "once": sh(runs + "0", restart={"policy": "transient"}),
                 "bad": sh(runs + "5", restart={"intensity": 1, "backoff": "10ms",
                                                "on_limit": "fail"})})
    want = {"job": ("stopped", {"code": 4}, 1), "once": ("stopped", {"code": 0}, 1),
            "bad": ("failed", {"code": 5}, 2)}
    for name, (state, _, _) in want.items():
        node.wait_child(name, state=state)
    node.call("stop", child="job")
    said = node.ctl("start", "job").stderr  # or it is seen to run before it ends
    assert said in ("", "prochubctl: job: failed: it ended with exit code 4\n")
    harness.wait(lambda: os.path.getsize(f"{cluster.dir}/runs-job") == 4, "run by an order")
    node.wait_child("job", state="stopped")
    renew(node, again, lambda: len(kept(node)) == 3)
    for name, (state, how, count) in want.items():
        entry = node.wait_child(name, state=state)
        assert entry["exit"] == how and entry["pid"] is None, entry
        count += name == "job"
        assert os.path.getsize(f"{cluster.dir}/runs-{name}") == 2 * count, name
    node.call("start", child="once")
    harness.wait(lambda: os.path.getsize(f"{cluster.dir}/runs-once") == 4, "run by an order")


@pytest.mark.parametrize("fate", ["drained", "stopped", "lost"])
def test_what_is_done_is_done_for_the_cluster(cluster, fate):
    """Whatever becomes of the node on which a job has run, no other one runs it again."""
    runs = f"{cluster.dir}/runs"
    a, b = cluster.start("a", "b", children={
        "job": sh(f"echo %i >>{runs}; exit 3", instances=8, restart={"policy": "temporary"})})
    for i in range(8):
        a.wait_child("job", i, state="stopped", exit={"code": 3})
    assert "b" in {a.child("job", i)["node"] for i in range(8)}
    time.sleep(2)  # a text that both declare at once is told anew: then the entries are of that one
    if fate == "drained":
        assert a.ctl("drain", "b").returncode == 0
    if fate == "lost":
        b.kill_node()
    else:
        b.stop()
    for i in range(8):
        a.wait_child("job", i, node="a", state="stopped", exit={"code": 3}, wanted=False)
    assert sorted(open(runs).read().split()) == [str(i) for i in range(8)]
    a.ctl("start", "job")  # "failed", where it ends before it was seen to run
    harness.wait(lambda: len(open(runs).read().split()) == 16, "run by an order")


@pytest.mark.parametrize("again", ["killed", "upgraded"])
def test_a_wait_goes_on(solo, again):
    """Back-off and the pause after the limit last as long, and are told as before, whatever becomes
    of the daemon; the end of the wait is theirs, too."""
    node = solo({"slow": sh("exit 3", restart={"backoff": "1h", "backoff_max": "1h"}),
                 "none": {"command": ["/nosuch/program"],
                          "restart": {"backoff": "1h", "backoff_max": "1h"}},
                 "much": sh("exit 4", restart={"intensity": 1, "retry_after": "1h"}),
                 "soon": sh("exit 5", restart={"intensity": 1, "retry_after": "6s"})})
    want = {"slow": ("backoff", {"code": 3}, 2), "none": ("backoff", None, 2),
            "much": ("failed", {"code": 4}, 1), "soon": ("failed", {"code": 5}, 1)}
    for name, (state, _, _) in want.items():
        node.wait_child(name, state=state)
    renew(node, again, lambda: len(kept(node, "due")) == 4)
    for name, (state, how, restarts) in want.items():
        entry = node.wait_child(name, state=state)
        assert entry["exit"] == how and entry["restarts"] == restarts, entry
    assert "No such file" in node.child("none")["reason"]
    assert not node.events("child_starting")  # of this daemon
    harness.wait(lambda: len(node.events("child_starting")) == 2, "the end of a wait", 20)
    assert {e["child"] for e in node.events("child_starting")} == {"soon"}
