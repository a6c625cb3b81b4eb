"""A thousand children, and kill -9 of their daemon at any moment.

After each restart every worker that lives is the same process, none is there twice, none is
missing, and what has ended in between is known to have.
"""

import os
import random
import signal
import time

import harness
from clients import Client
from raw import counter, sh, sleeper
from test_listen import Asking, free_port, server

MANY = 1000


def processes(node, child):
    """instance: pids of the processes of that child that live, from /proc alone."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                env = dict(e.partition(b"=")[::2] for e in f.read().split(b"\0"))
        except OSError:
            continue
        if env.get(b"PROCHUB_SOCKET", b"").startswith(node.run_dir.encode() + b"/") and \
                env.get(b"PROCHUB_CHILD") == child.encode() and harness.alive(pid):
            found.setdefault(int(env[b"PROCHUB_INSTANCE"]), []).append(int(pid))
    return found


def entries(node, child):
    return {e["instance"]: e for e in node.status()["children"] if e["child"] == child}


def wait_all(node, child="room", n=MANY, timeout=40):
    """All run; their entries in `status`."""
    def all_run():
        found = entries(node, child)
        return len(found) == n and all(e["state"] == "running" and e["ready"] and e["pid"]
                                       for e in found.values()) and found
    return harness.wait(all_run, lambda: f"{n} of {child} run: " + str(
        [e for e in entries(node, child).values() if e["state"] != "running"][:5]) + node.log(),
        timeout)


def check_once(node, found, child="room"):
    """Each is there once, and is who `status` says."""
    there = processes(node, child)
    assert {i: pids for i, pids in there.items() if len(pids) != 1} == {}
    assert {i: pids[0] for i, pids in there.items()} == {i: e["pid"] for i, e in found.items()}


def killed(node, seed, pause):
    """Kills the daemon after a while, then some of its workers; the instances of those."""
    rng = random.Random(seed)
    pids = processes(node, "room")
    time.sleep(pause * rng.random())
    node.kill()
    victims = rng.sample(sorted(pids), 7)
    for instance in victims:
        for pid in pids[instance]:
            harness.kill(pid)
    harness.wait(lambda: not any(harness.alive(p) for i in victims for p in pids[i]), "they end")
    return victims


def test_daemon_is_killed_again_and_again(solo, cluster):
    port, log = free_port(), cluster.dir + "/talk.log"
    talk = ["/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done"]
    node = solo({"room": sleeper(instances=MANY, restart={"policy": "transient"}),
                 "web": server({"http": f"tcp://127.0.0.1:{port}"}), "count": counter(),
                 "talk": {"command": talk, "log": {"to": "file", "path": log}},
                 "once": sleeper(restart={"policy": "temporary"})})
    before = wait_all(node)
    rest = {name: node.wait_running(name) for name in ("web", "count", "talk", "once")}
    asking, client = Asking(port), Client(cluster, "count")
    client.acks(10)
    for turn in range(5):
        victims = killed(node, turn, 0.3)
        if turn == 4:
            harness.kill(rest["once"]["pid"])
        node.start()
        after = wait_all(node)
        check_once(node, after)
        assert {i for i in after if after[i]["pid"] != before[i]["pid"]} == set(victims), turn
        assert all(e["epoch"] == before[i]["epoch"] for i, e in after.items() if i not in victims)
        exits = {e["instance"]: e["exit"] for e in node.events("child_exited")
                 if e["child"] == "room"}
        assert exits == {i: {"unknown": True} for i in victims}, turn
        assert all(after[i]["restarts"] == before[i]["restarts"] + (i in victims) for i in after)
        before = after
    client.acks(10)
    client.finish(dead_allowed=True)
    assert len(asking.finish()) > 10
    for name in ("web", "count", "talk"):
        entry = node.wait_running(name)
        assert (entry["pid"], entry["restarts"]) == (rest[name]["pid"], 0), name
    entry = node.wait_child("once", state=lambda s: s in ("stopped", "failed"))
    assert not cluster.workers("once") and entry["exit"] in (None, {"unknown": True})
    harness.kill(rest["talk"]["pid"])
    node.wait_running("talk", pid=lambda p: p != rest["talk"]["pid"])

    def words():
        with open(log) as f:
            return f.read().split()
    lines = harness.wait(lambda: "1" in words()[1:] and words(), "the new one's first line is there")
    again = lines.index("1", 1)
    assert lines[:again] == [str(i + 1) for i in range(again)]


def test_daemon_is_killed_while_it_starts_them(cluster):
    """At any moment of the start of a thousand; whoever runs by then stays."""
    node = cluster.node("a", {"room": sleeper(instances=MANY)}, alone=True)
    rng, known = random.Random(7), {}
    for turn in range(7):
        node.start(ready=False)
        time.sleep(rng.random() * (0.15 if turn < 3 else 0.6))
        node.kill()
        time.sleep(0.05)
        there = processes(node, "room")
        assert all(len(pids) == 1 for pids in there.values()), turn
        assert all(there.get(i) == pids for i, pids in known.items()), turn
        known = there
    node.start()
    found = wait_all(node)
    check_once(node, found)
    assert {i: (found[i]["pid"], pids) for i, pids in known.items()
            if found[i]["pid"] != pids[0]} == {}
    assert all(e["restarts"] == 0 for e in found.values())


def test_daemon_is_killed_while_workers_end(solo):
    """Restarts of many are under way when it dies: each is one process in the end."""
    node = solo({"room": sleeper(instances=300, restart={"backoff": "10ms", "backoff_max": "20ms"})})
    rng = random.Random(3)
    found = wait_all(node, n=300)
    for _ in range(6):
        stay = {}
        for i, e in found.items():
            if rng.random() < 0.4:
                harness.kill(e["pid"])
            else:
                stay[i] = e["pid"]
        time.sleep(rng.random() * 0.05)
        node.kill()
        node.start()
        found = wait_all(node, n=300)
        check_once(node, found)
        assert {i: found[i]["pid"] for i in stay} == stay


def test_upgrade_of_many(solo):
    node = solo({"room": sleeper(instances=MANY)})
    before = wait_all(node)
    rng = random.Random(5)
    for turn in range(3):
        victims = rng.sample(sorted(before), 10)
        begun = node.whole_log().count("signal USR2: executing")
        node.process.send_signal(signal.SIGUSR2)
        harness.wait(lambda: node.whole_log().count("signal USR2: executing") > begun,
                     "it executes", pause=0.001)
        for i in victims:
            harness.kill(before[i]["pid"])
        node.wait_up()
        harness.wait(lambda: all(entries(node, "room")[i]["pid"] not in (None, before[i]["pid"])
                                 for i in victims), lambda: f"they are back: {node.log()}")
        after = wait_all(node)
        check_once(node, after)
        assert {i for i in after if after[i]["pid"] != before[i]["pid"]} == set(victims), turn
        assert all(after[i]["exit"] in (None, {"signal": 9, "core": False}) for i in victims)
        assert all(e["exit"] == {"signal": 9, "core": False} for e in node.events("child_exited"))
        before = after


def test_all_end_while_no_daemon_is_there(solo, cluster):
    """What each may have left behind is looked for, and the daemon answers all the time."""
    mess = f"sleep 1000 & echo $! >{cluster.dir}/left; exec sleep 1000"
    node = solo({"room": sleeper(instances=MANY),
                 "mess": {"command": ["/bin/sh", "-c", mess]}})
    found = wait_all(node)
    messy = node.wait_running("mess")["pid"]
    left = int(harness.wait(lambda: os.path.exists(cluster.dir + "/left") and
                            open(cluster.dir + "/left").read(), "what it leaves"))
    node.kill()
    for pid in [messy, *(e["pid"] for e in found.values())]:
        harness.kill(pid)
    harness.wait(lambda: not any(harness.alive(e["pid"]) for e in found.values()), "they end")
    assert harness.alive(left)
    node.start()
    slowest, until = 0, time.monotonic() + 40
    while time.monotonic() < until:
        began = time.monotonic()
        node.call("ping")
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.02)
        if len([e for e in node.events("child_ready") if e["child"] == "room"]) > 300:
            break
    check_once(node, wait_all(node))
    node.wait_running("mess", pid=lambda p: p != messy)
    assert not harness.alive(left)
    assert slowest < 2, slowest


def test_state_file_is_a_moment_old(solo):
    """What was started again just before the daemon was killed is no other process after it."""
    once = sh("sleep 0.3; exit 0", restart={"policy": "temporary"})
    node = solo({"web": sleeper(instances=3), "once": once})
    before = [node.wait_running("web", i)["pid"] for i in range(3)]
    node.wait_child("once", state="stopped")

    def kept():
        with open(node.run_dir + "/state") as f:
            return f.read()
    harness.wait(lambda: '"done":[{' in kept(), lambda: f"its end is kept: {kept()}")
    state = kept()
    for pid in before[:2]:
        harness.kill(pid)
    after = [node.wait_running("web", i, pid=lambda p: p not in before)["pid"] for i in range(2)]
    node.config["children"]["once"] = sleeper(restart={"policy": "temporary"})
    node.write()
    node.ctl("reload")
    node.ctl("start", "once")
    once = node.wait_running("once")["pid"]
    harness.kill(before[2])
    node.wait_running("web", 2, pid=lambda p: p != before[2])
    node.kill()
    harness.kill(node.cluster.wait_single("web", 2))  # that one ends while no daemon is there
    with open(node.run_dir + "/state", "w") as f:
        f.write(state)
    node.start()
    assert [node.wait_running("web", i, restarts=1)["pid"] for i in range(2)] == after
    assert node.wait_running("once")["pid"] == once
    node.wait_running("web", 2, pid=lambda p: p not in before)
    assert all(len(node.cluster.workers("web", i)) == 1 for i in range(3))
    assert [e["instance"] for e in node.events("child_exited")] == [2]
