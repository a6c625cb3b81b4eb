"""One daemon and its children: start, readiness, restart, stop, the verbs of an operator."""

import contextlib
import os
import signal
import time

import pytest

import harness
from raw import faults, raw, sh, sleeper

NOTIFY = """
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def say(text): s.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
"""


def python(text, **options):
    return {"command": [harness.PYTHON, "-S", "-c", NOTIFY + text], **options}


def running_pid(node, child, instance=0):
    return node.wait_running(child, instance)["pid"]


def test_starts_with_each_kind_of_readiness(solo, cluster):
    node = solo({
        "plain": sleeper(),
        "speaks": raw(cluster, "speaks"),
        "notifies": python("say('READY=1\\nSTATUS=well'); time.sleep(1000)", ready="notify"),
        "systemd": sh("systemd-notify --ready && exec sleep 100000", ready="notify"),
        "many": sleeper(instances=3)})
    for child in ("plain", "speaks", "notifies", "systemd"):
        entry = node.wait_running(child)
        assert harness.alive(entry["pid"])
        assert (entry["node"], entry["instance"], entry["replica"]) == ("a", 0, 0)
        assert entry["restarts"] == 0 and entry["exit"] is None and entry["since_ms"] >= 0
    pid = running_pid(node, "systemd")  # with a barrier that is kept systemd-notify fails, after 5 s
    harness.wait(lambda: open(f"/proc/{pid}/comm").read() == "sleep\n", "its barrier was passed")
    assert len({running_pid(node, "many", i) for i in range(3)}) == 3
    kinds = [e["event"] for e in node.events() if e.get("child") == "notifies"]
    assert kinds == ["child_starting", "child_ready"]
    events = node.events()
    assert [e["seq"] for e in events] == sorted(e["seq"] for e in events)
    assert all(e["node"] == "a" and e["time"] for e in events)


def test_not_ready_in_time_is_restarted(solo):
    node = solo({"mute": sleeper(ready="notify", start_timeout="300ms")})
    node.wait_child("mute", restarts=lambda n: n >= 2)
    assert not node.child("mute")["ready"]


def test_restart_after_kill(solo):
    node = solo({"web": sleeper()})
    pid = running_pid(node, "web")
    os.kill(pid, signal.SIGKILL)
    entry = node.wait_running("web", pid=lambda p: p != pid)
    assert entry["restarts"] == 1
    exited = node.wait_event("child_exited", child="web")
    assert "9" in str(exited) or "KILL" in str(exited)
    shown = node.call("show", child="web")
    assert shown["ok"]


def test_back_off_grows_and_the_limit_fails_the_child(solo):
    node = solo({"bad": sh("exit 3", restart={"backoff": "300ms", "backoff_max": "10s",
                                             "jitter": "0%", "intensity": 3, "within": "1m",
                                             "on_limit": "fail"})})
    entry = node.wait_child("bad", state="failed")
    assert entry["exit"] == {"code": 3}
    node.wait_event("child_failed", child="bad")
    starts = [e["time"] for e in node.events("child_starting") if e["child"] == "bad"]
    assert len(starts) == 4, starts
    ages = [harness.age_s(t) for t in starts]
    gaps = [a - b for a, b in zip(ages, ages[1:])]
    assert gaps[2] > gaps[0], gaps
    assert node.ctl("status").returncode == 3
    assert node.ctl("start", "bad").returncode in (0, 1)
    harness.wait(lambda: len([e for e in node.events("child_starting")]) > 4, "started again")


def test_policies(solo, cluster):
    once = f"{cluster.dir}/once"
    node = solo({
        "done": sh("exit 0", restart={"policy": "transient"}),
        "temp": sh("exit 1", restart={"policy": "temporary"}),
        "retry": sh(f"test -e {once} && exec sleep 100000; touch {once}; exit 1",
                    restart={"policy": "transient"})})
    assert node.wait_child("retry", state="running", restarts=1)
    assert node.wait_child("done", state="stopped")["exit"] == {"code": 0}
    assert node.wait_child("temp", state=lambda s: s in ("stopped", "failed"))["restarts"] == 0


def test_exec_failure_is_told(solo):
    node = solo({"gone": {"command": ["/no/such/program"]}, "web": sleeper()})
    running_pid(node, "web")
    node.wait_event("child_restarting", child="gone")
    assert "/no/such/program" in node.log() and "No such file" in node.log()
    why = "it cannot be started: cannot execute '/no/such/program': No such file or directory"
    assert not node.wait_child("gone", state="backoff", reason=why)["ready"]
    assert node.child("web")["reason"] is None
    for words in (("status",), ("show", "gone")):
        harness.wait(lambda w=words: why in node.ctl(*w).stdout, why)


def test_why_it_is_not_ready_is_shown(solo):
    node = solo({"web": sleeper(ready="exec:/bin/sh -c 'echo not yet; exit 3'", start_timeout="1m")})
    entry = node.wait_child("web", state="starting", reason=lambda r: r)
    assert entry["reason"] == "not ready: the command ended with 3: not yet"
    assert entry["reason"] in node.ctl("status").stdout


def test_a_stopped_process_hears_that_it_is_to_stop(solo, cluster):
    """As after SIGSTOP or Ctrl-Z: it goes on to do what it does at its end."""
    got = cluster.dir + "/got"
    node = solo({"web": sh(f"trap 'echo TERM > {got}; exit 0' TERM; touch {got}; "
                           "while :; do sleep 0.05; done", stop_timeout="20s")})
    pid = running_pid(node, "web")
    harness.wait(lambda: os.path.exists(got), "its trap")
    os.kill(pid, signal.SIGSTOP)
    assert node.ctl("stop", "web").returncode == 0
    assert node.wait_child("web", state="stopped")["exit"] == {"code": 0}
    assert open(got).read() == "TERM\n"


def test_stop_takes_the_signal_then_the_whole_group(solo, cluster):
    got = cluster.dir + "/got"
    node = solo({
        "int": sh(f"trap 'echo INT > {got}; exit 0' INT; touch {got}; while :; do sleep 0.05; done",
                  stop_signal="INT"),
        "deaf": sh("trap '' TERM; sh -c 'trap \"\" TERM; while :; do sleep 1; done' & "
                   "while :; do sleep 1; done", stop_timeout="400ms"),
        "leader": sh("sh -c 'trap \"\" TERM; while :; do sleep 1; done' & "
                     "while :; do sleep 1; done", stop_timeout="400ms")})
    harness.wait(lambda: os.path.exists(got), "its trap")
    harness.wait(lambda: len(cluster.workers("deaf")) >= 3, "the deaf family")
    harness.wait(lambda: len(cluster.workers("leader")) >= 3, "the leader's family")
    assert node.ctl("stop", "int", "deaf", "leader").returncode == 0
    for child in ("int", "deaf", "leader"):
        node.wait_child(child, state="stopped", pid=None)
        harness.wait(lambda: not cluster.workers(child), f"{child} is gone")
    assert open(got).read() == "INT\n"


def test_stop_of_a_protocol_worker(solo, cluster):
    node = solo({"kind": raw(cluster, "kind", stop_timeout="20s"),
                 "stub": raw(cluster, "stub", "--ignore-term", words=["ignore_stop"],
                             stop_timeout="500ms")})
    running_pid(node, "kind"), running_pid(node, "stub")
    began = time.monotonic()
    assert node.ctl("stop", "kind").returncode == 0
    assert node.wait_child("kind", state="stopped")["exit"] == {"code": 0}
    assert time.monotonic() - began < 9  # it obeyed `stop`: no grace passed
    assert node.ctl("stop", "stub").returncode == 0
    assert node.wait_child("stub", state="stopped")["exit"]["signal"] in (9, "KILL", "SIGKILL")
    assert "stop" in faults(cluster, "stub").words()


def test_verbs(solo):
    node = solo({"web": sleeper(instances=2), "db": sleeper()})
    old = [running_pid(node, "web", i) for i in range(2)]
    assert node.ctl("stop", "web/1").returncode == 0
    node.wait_child("web", 1, state="stopped")
    assert not harness.alive(old[1]) and harness.alive(old[0])
    assert node.ctl("restart", "web/0").returncode == 0
    node.wait_running("web", 0, pid=lambda p: p not in old)
    assert node.ctl("start", "web").returncode == 0
    node.wait_running("web", 1, pid=lambda p: p not in old)
    assert node.ctl("wait", "web", "--for=ready", "--timeout", "5s").returncode == 0
    db = running_pid(node, "db")
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(10) == 0 and not harness.alive(db)


def test_a_stop_is_kept_over_a_restart_of_the_daemon(solo):
    node = solo({"web": sleeper(), "db": sleeper()})
    running_pid(node, "web")
    assert node.ctl("stop", "web").returncode == 0
    node.wait_child("web", state="stopped")
    node.kill()
    node.start()
    running_pid(node, "db")
    node.wait_child("web", state="stopped") # its end may be newer than the state file
    assert [e["child"] for e in node.events("child_starting")] == []
    assert node.ctl("start", "web").returncode == 0
    running_pid(node, "web")


@pytest.mark.parametrize("words", [
    ["status", "nix"], ["show", "nix"], ["start", "nix"], ["stop", "nix"], ["restart", "nix"],
    ["lookup", "nix"], ["move", "nix", "a"], ["move", "web", "nowhere"], ["drain", "nowhere"],
    ["show", "web/7"], ["migrations", "0" * 32]], ids=" ".join)
def test_unknown_names_exit_4(words, one):
    result = one.ctl(*words)
    assert result.returncode == 4, result
    assert words[-1] in result.stderr or words[1] in result.stderr


@pytest.fixture(scope="module")
def one():
    made = harness.Cluster()
    node = made.node("a", {"web": sleeper()}, alone=True).start()
    node.wait_running("web")
    yield node
    made.close(orderly=True)


def test_move_to_where_it_is(one):
    result = one.ctl("move", "web", "a")
    assert (result.returncode, result.stdout) == (0, "web: it is there already\n"), result


def test_status_is_what_people_were_promised(one):
    status = one.status()
    assert status["node"] == "a" and status["quorum"] is None and status["migrations"] == []
    (node,) = status["nodes"]
    assert node["name"] == "a" and node["state"] == "alive" and node["children"] == 1
    assert not node["draining"] and node["incarnation"] > 0 and node["weight"] == 1.0
    (child,) = status["children"]
    assert {"child", "instance", "replica", "node", "state", "ready", "role", "epoch", "pid",
            "since_ms", "restarts", "exit", "differs", "meta"} <= set(child)
    assert child["role"] == "active" and child["epoch"] > 0
    assert child["epoch"] < 2**53
    assert one.ctl("status").returncode == 0
    text = one.ctl("status").stdout
    assert "web" in text and "running" in text and "\x1b" not in text
    assert one.ctl("nodes", "--json").returncode == 0
    found = one.lookup("web")
    assert [(f["node"], f["instance"], f["ready"]) for f in found] == [("a", 0, True)]


def test_daemon_that_is_not_there_exits_4(tmp_path):
    import subprocess
    gone = subprocess.run([harness.CTL, "--socket", str(tmp_path / "no.sock"), "status"],
                          capture_output=True, text=True, timeout=10)
    assert gone.returncode == 4


def test_watchdogs(solo, cluster):
    beat = "\nwhile 1: say('WATCHDOG=1'); time.sleep(0.1)"
    node = solo({
        "lively": python("say('READY=1')" + beat, ready="notify", watchdog="3s"),
        "hung": python("say('READY=1'); time.sleep(1000)", ready="notify", watchdog="300ms")})
    lively = running_pid(node, "lively")
    node.wait_child("hung", restarts=lambda n: n >= 2)
    assert node.child("lively")["pid"] == lively and node.child("lively")["restarts"] == 0


@contextlib.contextmanager
def standing_still(node, seconds):
    """The daemon alone, for so long at least: as on a machine that is far too busy."""
    os.kill(node.process.pid, signal.SIGSTOP)
    try:
        yield
        time.sleep(seconds)
    finally:
        os.kill(node.process.pid, signal.SIGCONT)


def test_signs_of_life_for_a_daemon_that_stood_still(solo):
    """They have come before the time was over, though it reads them after it."""
    beat = "\nwhile 1: say('WATCHDOG=1'); time.sleep(0.6)"  # all of them fit into its socket
    node = solo({"web": python("say('READY=1')" + beat, ready="notify", watchdog="2s", instances=2)})
    before = [running_pid(node, "web", i) for i in range(2)]
    for _ in range(3):
        with standing_still(node, 2.3):
            pass
        node.wait_up()
    assert [running_pid(node, "web", i) for i in range(2)] == before, node.log()


def test_readiness_for_a_daemon_that_stood_still(solo, cluster):
    go = f"{cluster.dir}/go"
    node = solo({"web": python(f"while not os.path.exists({go!r}): time.sleep(0.01)\n"
                               "say('READY=1'); time.sleep(1000)", ready="notify",
                               start_timeout="2500ms", instances=5)})
    for i in range(5):
        node.wait_child("web", i, state="starting")
    with standing_still(node, 2.7):
        open(go, "w").close()
    assert [node.wait_running("web", i)["restarts"] for i in range(5)] == [0] * 5, node.log()


# starts a process that goes on as the main one and says so, and then does as `first` says
FORKS = """
import signal
said, saying = os.pipe()
if os.fork() == 0:
    say(f"READY=1\\nMAINPID={os.getpid()}")
    os.write(saying, b".")
    signal.signal(signal.SIGTERM, lambda *_: open(os.environ["GOT"], "w").write("TERM") and sys.exit(7))
    while 1: time.sleep(1)
"""


def main_children(cluster):
    def forks(name, first, text=FORKS, **options):
        return python(text + first, ready="notify", env={"GOT": f"{cluster.dir}/{name}.got"},
                      **options)
    return {"ends": forks("ends", "os.read(said, 1)"),
            "stays": forks("stays", "time.sleep(1000)"),
            "quick": forks("quick", "os._exit(0)", text="""
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.read(r, 1)
    while 1: time.sleep(1)
say(f"READY=1\\nMAINPID={pid}")
""")}


def sessions(cluster, child):
    """{pid: pid of its session leader} of the child's processes."""
    return {pid: os.getsid(pid) for pid in cluster.workers(child)}


@pytest.mark.parametrize("child", ["ends", "stays", "quick"])
def test_main_pid(solo, cluster, child):
    node = solo({child: main_children(cluster)[child]})
    entry = node.wait_running(child)
    main = entry["pid"]
    harness.wait(lambda: len(cluster.workers(child)) == (2 if child == "stays" else 1),
                 "the first process has ended, or not")
    assert sessions(cluster, child)[main] != main
    assert node.child(child)["restarts"] == 0 and node.child(child)["pid"] == main
    state = node.run_dir + "/state"
    harness.wait(lambda: f'"main_pid":{main},' in open(state).read(), "it is in the state file")
    node.kill()  # the next daemon knows it from there
    node.start()
    assert node.wait_running(child)["pid"] == main
    assert main in cluster.workers(child) and node.child(child)["restarts"] == 0
    os.kill(main, signal.SIGKILL)  # its end is that of the worker, also of what is left of it
    entry = node.wait_running(child, pid=lambda p: p != main)
    assert entry["restarts"] == 1
    assert node.wait_event("child_exited", child=child)["exit"] == {"unknown": True}
    harness.wait(lambda: entry["pid"] in sessions(cluster, child) and
                 len(set(sessions(cluster, child).values())) == 1, "nothing is left of the first")
    node.wait_running(child)
    if child == "quick":
        return
    assert node.ctl("stop", child).returncode == 0
    assert open(f"{cluster.dir}/{child}.got").read() == "TERM"
    node.wait_child(child, state="stopped")
    assert not cluster.workers(child)


@pytest.mark.parametrize("child", ["ends", "stays"])
def test_main_pid_without_a_state_file(solo, cluster, child):
    """The process is found by its environment where its session's leader has ended."""
    node = solo({child: {**main_children(cluster)[child], "start_timeout": "2s"}})
    main = running_pid(node, child)
    left = 2 if child == "stays" else 1
    harness.wait(lambda: len(cluster.workers(child)) == left, "the first one has ended, or not")
    before = sessions(cluster, child)
    node.wait_child(child, since_ms=lambda ms: ms > 2200)  # it counts as ready then
    node.kill()
    os.unlink(node.run_dir + "/state")
    node.start()
    entry = node.wait_running(child)
    assert entry["pid"] == (main if child == "ends" else before[main])
    assert sessions(cluster, child) == before and entry["restarts"] == 0
    os.kill(entry["pid"], signal.SIGKILL)
    node.wait_running(child, pid=lambda p: p not in before)
    harness.wait(lambda: not set(before) & set(cluster.workers(child)), "nothing is left")


def test_daemon_of_a_worker_is_no_worker(solo, cluster):
    """It has a session of its own whose leader has ended; that does not make it the worker."""
    text = "if os.fork() == 0:\n os.setsid()\n if os.fork(): os._exit(0)\ntime.sleep(1000)"
    node = solo({"web": python(text)})
    pid = running_pid(node, "web")
    harness.wait(lambda: set(sessions(cluster, "web").values()) - {*cluster.workers("web")},
                 "its session has lost its leader")
    before = sessions(cluster, "web")
    for lost in (False, True):
        node.kill()
        if lost:
            os.unlink(node.run_dir + "/state")
        node.start()
        assert node.wait_running("web")["pid"] == pid and sessions(cluster, "web") == before
    for other in set(before) - {pid}:
        harness.kill(other)


def test_main_process_that_died_meanwhile(solo, cluster):
    node = solo({"stays": main_children(cluster)["stays"]})
    main = running_pid(node, "stays")
    before = cluster.workers("stays")
    state = node.run_dir + "/state"
    harness.wait(lambda: f'"main_pid":{main},' in open(state).read(), "it is in the state file")
    node.kill()
    harness.kill(main)
    harness.wait(lambda: not harness.alive(main), "it is gone")
    node.start()
    node.wait_running("stays", pid=lambda p: p not in before)
    harness.wait(lambda: not set(before) & set(cluster.workers("stays")), "the first one too")


def test_main_pid_of_a_stranger_is_ignored(solo, cluster):
    node = solo({
        "claims": python("say(f'READY=1\\nMAINPID={os.getppid()}'); time.sleep(1000)",
                         ready="notify")})
    pid = running_pid(node, "claims")
    assert cluster.workers("claims") == [pid] and pid != node.process.pid
    harness.wait(lambda: "no running process of its session" in node.log(), "a warning")


def test_triggered_watchdog_and_longer_times(solo):
    node = solo({
        "broken": python("say('READY=1'); time.sleep(0.2); say('WATCHDOG=trigger'); "
                         "time.sleep(1000)", ready="notify"),
        "slow": python("say('EXTEND_TIMEOUT_USEC=9000000'); time.sleep(2.5); say('READY=1')\n"
                       "import signal\n"
                       "def stop(*_):\n say('EXTEND_TIMEOUT_USEC=9000000'); time.sleep(2.5); "
                       "sys.exit(5)\n"
                       "signal.signal(signal.SIGTERM, stop)\nwhile 1: time.sleep(1)",
                       ready="notify", start_timeout="2s", stop_timeout="2s")})
    node.wait_child("broken", restarts=lambda n: n >= 2)
    assert node.wait_running("slow")["restarts"] == 0
    assert node.ctl("stop", "slow").returncode == 0
    assert node.wait_child("slow", state="stopped")["exit"] == {"code": 5}


def test_status_is_told_and_floods_nobody(solo):
    node = solo({
        "web": python("say('READY=1')\n"
                      "for i in range(50000): say(f'STATUS=step {i}')\n"
                      "time.sleep(11)\nsay('STATUS=calm again'); time.sleep(1000)", ready="notify")})
    pid = running_pid(node, "web")
    harness.wait(lambda: "web/0: calm again" in node.whole_log(), "what it said last", 25)
    told = [x for x in node.whole_log().splitlines() if "info: web/0: " in x]
    assert "web/0: step 0" in told[0] and len(told) < 100, len(told)
    assert any("more status texts since" in x for x in told), told
    assert node.child("web")["pid"] == pid


def test_helper_in_a_session_of_its_own_is_left_alone(solo, cluster):
    """What a worker starts for itself is neither adopted nor ended by the next daemon."""
    pidfile = f"{cluster.dir}/helper"
    node = solo({"web": {"command": [
        "/bin/sh", "-c", f"setsid sleep 1000 & echo $! >{pidfile}; exec sleep 1000"]}})
    worker = node.wait_running("web")["pid"]
    helper = int(harness.wait(lambda: os.path.exists(pidfile) and open(pidfile).read().strip(),
                              "the helper's pid"))
    try:
        node.kill()
        node.start()
        assert node.wait_running("web")["pid"] == worker
        harness.wait(lambda: node.call("status")["children"][0]["since_ms"] > 300, "some time")
        assert harness.alive(helper) and harness.alive(worker)
        assert len(node.call("status")["children"]) == 1
    finally:
        os.kill(helper, signal.SIGKILL)
