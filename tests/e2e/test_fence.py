"""prochub-fence: what other nodes may take over does not outlive a daemon that is away.

Workers write down when they run, so that two of one child that overlap are seen.
"""

import os
import signal
import subprocess
import textwrap
import time

import harness
import pytest
from raw import sh, sleeper
from test_kill import NO_CGROUPS
from test_limits import cgroup_mount

WRITER = textwrap.dedent("""
    import os, signal, sys, time
    if sys.argv[2] == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        os.write(out, f"{os.getpid()} {time.clock_gettime_ns(time.CLOCK_BOOTTIME)}\\n".encode())
        time.sleep(0.005)
    """)
# a daemon that is started again is back long before it, however loaded the machine is
PATIENT = {"failure_timeout": "30s"}
OWN = {"placement": {"strategy": "local"}}


def writer(cluster, how="meek", **options):
    return {"command": [harness.PYTHON, "-S", "-E", "-c", WRITER, f"{cluster.dir}/%c-%i", how],
            "stop_timeout": "200ms", "migration": {"strategy": "none"}, **options}


def lives(cluster, child, instance=0):
    """{pid: (first, last)} in seconds, of each worker that has run."""
    found = {}
    with open(f"{cluster.dir}/{child}-{instance}") as f:
        for line in f.read().splitlines():
            pid, at = map(int, line.split())
            first, _ = found.get(pid, (at / 1e9, 0))
            found[pid] = (first, at / 1e9)
    return found


def assert_no_overlap(cluster, child, instance):
    spans = sorted(lives(cluster, child, instance).values())
    assert all(a[1] < b[0] for a, b in zip(spans, spans[1:])), spans
    return spans


def owners(cluster, child, n):
    return {i: cluster.wait_everywhere(child, i)["node"] for i in range(n)}


def pids(cluster, child, n):
    return {i: cluster.wait_single(child, i) for i in range(n)}


def wait_gone(all_pids):
    harness.wait(lambda: not any(map(harness.alive, all_pids)), f"{all_pids} are stopped", 60)


@pytest.fixture
def alone(cluster):
    """alone(children, ...) starts the only node of a cluster; it has others to wait for."""
    def start(children, **more):
        return cluster.node("a", children, cluster={"join_timeout": "200ms", **more}).start()
    return start


@pytest.mark.parametrize("strategy", ["divergence", "majority"])
def test_stopped_daemon(cluster, strategy):
    """Its workers are gone before other nodes start them; local ones live on."""
    names = ["a", "b", "c"][:2 if strategy == "divergence" else 3]
    nodes = cluster.start(
        *names, children={"meek": writer(cluster, instances=6), "own": sleeper(**OWN),
                          "deaf": writer(cluster, "deaf", instances=6)},
        cluster={"failure_timeout": "4s", "partition": {"strategy": strategy}})
    harness.wait(lambda: all(n.status()["quorum"] is not False for n in nodes), "all are in view")
    cluster.wait_quiet()
    where = {(c, i): n for c in ("meek", "deaf") for i, n in owners(cluster, c, 6).items()}
    own = [n.wait_running("own")["pid"] for n in nodes]
    b = cluster.nodes[where["deaf", 0]]
    a = next(n for n in nodes if n is not b)
    os.kill(b.process.pid, signal.SIGSTOP)
    a.wait_event("node_dead", peer=b.name, timeout=30)
    for key in where:
        a.wait_running(*key, timeout=30, node=lambda name: name != b.name)
    assert all(map(harness.alive, own))
    os.kill(b.process.pid, signal.SIGCONT)
    cluster.wait_members()
    harness.wait(lambda: "was silent for longer than fence_after" in b.log(), b.log)
    cluster.wait_quiet()
    for (child, i), node in where.items():
        entry = cluster.wait_everywhere(child, i)
        assert entry["pid"] == cluster.wait_single(child, i)
        spans = assert_no_overlap(cluster, child, i)
        assert len(spans) == (2 if node == b.name else 1) and entry["node"] != b.name
    assert [n.wait_running("own")["pid"] for n in nodes] == own
    harness.wait(b.fence_pid, "b has a fence again")


def test_short_failure_timeout(cluster):
    """What ignores SIGTERM has time until the fence kills it, and its successors wait for that."""
    a, b = cluster.start("a", "b", children={"deaf": writer(cluster, "deaf", instances=12)},
                         cluster={"failure_timeout": "1s"})
    for round_ in range(3):
        cluster.wait_quiet()
        where = {i: (entry["node"], entry["pid"]) for i in range(12)
                 for entry in [cluster.wait_everywhere("deaf", i)]}
        victim = next(n for n in (b, a) if n.name in {node for node, _ in where.values()})
        other = a if victim is b else b
        at = time.clock_gettime(time.CLOCK_BOOTTIME)
        victim.kill()
        for i in where:
            other.wait_running("deaf", i, timeout=30, node=other.name)
        for i, (_, pid) in ((i, w) for i, w in where.items() if w[0] == victim.name):
            later = harness.wait(lambda: [first for first, _ in lives(cluster, "deaf", i).values()
                                          if first > at], f"deaf/{i} runs again")
            last = lives(cluster, "deaf", i)[pid][1]
            assert last < min(later), f"round {round_}, {i}: until {last}, since {min(later)}"
        victim.start()
        cluster.wait_members()


def test_no_quorum(cluster):
    """What the fence of a node without a lease has stopped stays so, without another fence."""
    a, b = cluster.start("a", "b", children={"room": sleeper(instances=4)},
                         cluster={"partition": {"strategy": "majority"}})
    where = owners(cluster, "room", 4)
    before = pids(cluster, "room", 4)
    survivor, other = (a, b) if "a" in where.values() else (b, a)
    harness.wait(survivor.fence_pid, "a fence")
    other.kill_node()
    wait_gone(before.values())
    survivor.wait_event("quorum_lost", timeout=30)
    harness.wait(lambda: not survivor.fence_pid(), "the fence has done its work", 30)
    other.start()
    cluster.wait_members(30)
    owners(cluster, "room", 4)
    for node in (survivor, other):
        harness.wait(node.fence_pid, "a fence again")
    assert survivor.log().count("was silent for longer than fence_after") <= 1


@pytest.mark.parametrize("strategy", ["divergence", "majority"])
def test_killed_daemon_that_is_back_in_time(cluster, strategy):
    a, b = cluster.start("a", "b", children={"room": sleeper(instances=6)},
                         cluster={**PATIENT, "partition": {"strategy": strategy}})
    owners(cluster, "room", 6)
    before, fences = pids(cluster, "room", 6), [n.fence_pid() for n in (a, b)]
    assert all(fences)
    for _ in range(2):
        for node in (a, b):
            node.kill()
            node.start()
        cluster.wait_members()
    assert pids(cluster, "room", 6) == before
    assert [n.fence_pid() for n in (a, b)] == fences  # the same ones: nobody was unguarded
    assert not any("is started again" in n.log() for n in (a, b))


def test_killed_daemon_that_is_back_too_late(cluster):
    a, b = cluster.start("a", "b", children={"room": writer(cluster, instances=6),
                                             "own": sleeper(**OWN)})
    where = owners(cluster, "room", 6)
    before, own = pids(cluster, "room", 6), b.wait_running("own")["pid"]
    b.kill()
    for i in where:
        a.wait_running("room", i, node="a", timeout=30)
    b.start()
    cluster.wait_members()
    cluster.wait_calm()
    for i, node in where.items():
        entry = cluster.wait_everywhere("room", i)
        assert entry["pid"] == cluster.wait_single("room", i)
        assert node == "b" or entry["pid"] == before[i]
        assert_no_overlap(cluster, "room", i)
    assert b.wait_running("own")["pid"] == own
    assert not b.events("child_exited")


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_node_that_is_alone_recovers(cluster, alone, how):
    """By a claim: the epoch is another one. Whatever the policy says of an exit."""
    once = {"restart": {"policy": "temporary"}}
    node = alone({"room": sleeper(instances=3, **once), "own": sleeper(**OWN)})
    before = [node.wait_running("room", i) for i in range(3)]
    own = node.wait_running("own")["pid"]
    if how == "kill":
        node.kill()
    else:
        os.kill(node.process.pid, signal.SIGSTOP)
    wait_gone([e["pid"] for e in before])
    if how == "kill":
        node.start()
    else:
        os.kill(node.process.pid, signal.SIGCONT)
    for i in range(3):
        entry = node.wait_running("room", i, epoch=lambda e: e and e > before[i]["epoch"])
        assert cluster.wait_single("room", i) == entry["pid"]
    assert node.wait_running("own")["pid"] == own
    harness.wait(node.fence_pid, "a fence again")


def test_daemon_that_is_back_in_the_grace(cluster, alone):
    """It waits until the old worker is gone, before it looks what lives."""
    mark = f"{cluster.dir}/term"
    node = alone({"room": sh(f"trap 'echo >{mark}' TERM; while :; do sleep 0.05; done")},
                 failure_timeout="10s", fence_after="1s")
    entry = node.wait_running("room")
    node.kill()
    harness.wait(lambda: os.path.exists(mark), "SIGTERM", 30)
    assert harness.alive(entry["pid"])
    node.start(ready=False)
    node.wait_up(30)
    assert not harness.alive(entry["pid"])
    again = node.wait_running("room", epoch=lambda e: e and e > entry["epoch"])
    assert cluster.wait_single("room") == again["pid"]


def test_orphans_are_kept(cluster, alone):
    node = alone({"room": sleeper(instances=2)}, orphans="keep", failure_timeout="500ms")
    before = [node.wait_running("room", i)["pid"] for i in range(2)]
    assert not node.fence_pid()
    node.kill()
    assert all(map(harness.alive, before))
    node.start()
    assert [node.wait_running("room", i)["pid"] for i in range(2)] == before


def test_orphans_are_kept_from_now_on(alone):
    """The fence of the daemon before goes, and nothing happens to the workers."""
    node = alone({"room": sleeper()}, **PATIENT)
    pid = node.wait_running("room")["pid"]
    fence = node.fence_pid()
    node.kill()
    node.config["cluster"]["orphans"] = "keep"
    node.start()
    harness.wait(lambda: not harness.alive(fence), "the old fence is ended")
    assert not node.fence_pid() and node.wait_running("room")["pid"] == pid


def test_single_node_has_no_fence(solo):
    node = solo({"room": sleeper()})
    node.wait_running("room")
    assert not node.fence_pid()


def test_killed_fence(cluster, alone):
    """Another one is there at once, with the same table; it works."""
    node = alone({"room": sleeper(instances=2)})
    before = [node.wait_running("room", i)["pid"] for i in range(2)]
    for _ in range(3):
        fence = node.fence_pid()
        harness.kill(fence)
        harness.wait(lambda: node.fence_pid() not in (None, fence), "a new fence")
    assert node.log().count("prochub-fence: it was ended by signal 9") == 3
    assert [node.wait_running("room", i)["pid"] for i in range(2)] == before
    node.kill()
    wait_gone(before)
    node.start()
    for i in range(2):
        assert node.wait_running("room", i)["pid"] == cluster.wait_single("room", i)


def test_orderly_stop_ends_the_fence(alone):
    node = alone({"room": sleeper()})
    node.wait_running("room")
    for _ in range(2):
        fence = node.fence_pid()
        assert fence
        node.stop()
        assert not harness.alive(fence)
        node.start()


def test_what_a_worker_leaves_behind(cluster, alone):
    """Of a worker whose first process obeys, and whose others do not, nothing is left."""
    node = alone({"room": sh("sh -c \"trap '' TERM; while :; do sleep 0.1; done\" & wait")})
    node.wait_running("room")
    harness.wait(lambda: len(cluster.workers("room")) >= 2, "two processes")
    node.kill()
    harness.wait(lambda: not cluster.workers("room"), "none of them", 30)
    node.start()
    node.wait_running("room")


# a session of its own, whose parent is gone, and which ignores SIGTERM
RUNAWAY = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(sys.argv[1], "w") as f:
        f.write(str(os.getpid()))
    os.execve("/bin/sleep", ["sleep", "55"], {} if sys.argv[2] == "bare" else os.environ)
time.sleep(100000)
"""


@pytest.mark.parametrize("how, cgroups", [("marked", True), ("marked", False), ("bare", True)])
def test_what_has_left_the_session(cluster, how, cgroups):
    """By its environment, or by the cgroup where that was cleared; the worker itself obeys."""
    if how == "bare" and not cgroup_mount():
        return  # then it escapes, as the manual says
    pid_file = cluster.dir + "/runaway"
    node = cluster.node("a", {"room": {"command": [
        harness.PYTHON, "-S", "-c", RUNAWAY, pid_file, how]}}, cluster={"join_timeout": "200ms"})
    if not cgroups:
        node.prefix = NO_CGROUPS
    node.start()
    worker = node.wait_running("room")["pid"]
    harness.wait(lambda: os.path.exists(pid_file) and open(pid_file).read(), "the one that left")
    runaway = int(open(pid_file).read())
    node.kill()
    harness.wait(lambda: not harness.alive(worker), "the worker is stopped", 15)
    harness.wait(lambda: not harness.alive(runaway), "and what has left its session", 15)
    node.start()
    node.wait_running("room")


def test_refused_times(cluster):
    node = cluster.node("a", cluster={"failure_timeout": "5s", "fence_after": "4s"})
    node.write()
    said = subprocess.run([harness.PROCHUBD, "-t", "-c", node.file], capture_output=True, text=True)
    assert said.returncode == 2
    assert "cluster.fence_after: 4000ms and a grace of 1000ms (0.2 of failure_timeout) must be " \
        "less than cluster.failure_timeout (5000ms)" in said.stderr
