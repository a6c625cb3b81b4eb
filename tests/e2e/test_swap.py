"""Hot swap on one node: a new worker beside the old one, with its state, and no update lost."""

import os
import random
import signal
import time

import harness
import pytest
from clients import Client, finish_all
from raw import counter, faults, py_counter, raw, sh, sleeper
from test_listen import ask, free_port, server
from web import Asking, finish, get, web


def swap(node, child, *more):
    return node.ctl("swap", child, *more)


@pytest.mark.parametrize("kind", ["raw", "c", "py", "rounds"])
def test_state_goes_along(solo, cluster, kind):
    child = {"raw": raw(cluster, "w"), "c": counter(), "py": py_counter(),
             "rounds": raw(cluster, "w", "--caps", "handover,rounds")}[kind]
    node = solo({"w": child})
    client = Client(cluster, "w")
    client.acks(10)
    before = node.wait_running("w")
    done = swap(node, "w")
    assert done.returncode == 0, (done, node.log())
    assert "swapped" in done.stdout
    after = node.wait_running("w", pid=lambda p: p != before["pid"])
    assert after["epoch"] > before["epoch"] and after["restarts"] == 0
    client.acks(10)
    migration = node.wait_migration("w", "done")
    assert migration["from"] == migration["to"] == "a"
    finish_all([client])
    assert cluster.workers("w") == [after["pid"]]
    node.stop()


def test_twenty_swaps_of_a_web_server(solo, cluster):
    """Each request is accounted for, on connections that are kept and on one each."""
    port = free_port()
    node = solo({"web": web(port)})
    node.wait_running("web")
    askings = [Asking(port, keep) for keep in (True, True, True, False, False, False)]
    epochs = [node.child("web")["epoch"]]
    for _ in range(20):
        harness.wait(lambda: all(len(a.counts) > 5 for a in askings), "they are answered")
        done = swap(node, "web")
        assert done.returncode == 0, (done, node.log())
        epochs.append(node.wait_running("web")["epoch"])
    assert epochs == sorted(set(epochs))
    pids = set().union(*(a.pids for a in askings))
    assert len(pids) >= 20
    total = finish(askings, port)
    downtimes = [m["downtime_ms"] for m in node.migrations("web")]
    print(f"{total} requests over 20 swaps, none lost; longest answer "
          f"{max(a.longest for a in askings):.3f} s; downtimes {sorted(downtimes)} ms")
    assert len(downtimes) == 20
    assert len(cluster.workers("web")) == 1
    node.stop()


def test_daemon_is_killed_at_any_moment(solo, cluster):
    """Either the old one goes on or the new one, never both or none, and nothing is lost."""
    port = free_port()
    node = solo({"web": web(port)})
    node.wait_running("web")
    askings = [Asking(port, keep) for keep in (True, False)]
    swapped = 0
    for i in range(12):
        before = node.wait_running("web")["pid"]
        answers = [len(a.counts) for a in askings]
        assert swap(node, "web", "--no-wait").returncode == 0
        time.sleep(random.uniform(0, 0.5))
        node.kill()
        time.sleep(random.uniform(0, 0.3))
        node.start()
        node.wait_running("web", timeout=20)
        harness.wait(lambda: not any(m["result"] == "running" for m in node.migrations()),
                     lambda: f"an end: {node.migrations()}\n{node.log()}", 20)
        harness.wait(lambda: len(cluster.workers("web")) == 1, "one is left")
        harness.wait(lambda: all(len(a.counts) > n for a, n in zip(askings, answers)),
                     "they are answered")
        swapped += node.wait_running("web")["pid"] != before
    print(f"{swapped} of 12 were swapped")
    finish(askings, port)
    node.stop()


def test_broken_command(solo, cluster):
    """A new one that does not come up: the old one goes on, and the order tells why."""
    port = free_port()
    node = solo({"web": web(port)})
    before = node.wait_running("web")
    askings = [Asking(port, True), Asking(port, False)]
    good = node.config["children"]["web"]["command"]
    for command in (["/nonexistent/web"], ["/bin/false"], ["/bin/sleep", "1000000"]):
        node.config["children"]["web"].update(command=command, start_timeout="500ms")
        node.write()
        assert node.ctl("reload").returncode == 0
        node.wait_event("migration_aborted", child="web")
        done = swap(node, "web")
        assert done.returncode == 1 and "web: failed: " in done.stderr, done
        assert node.wait_running("web")["pid"] == before["pid"]
        harness.wait(lambda: cluster.workers("web") == [before["pid"]], "the new one is gone")
    node.config["children"]["web"].update(command=[*good], start_timeout="5s",
                                          env={"NEW": "1"})
    node.write()
    assert node.ctl("reload").returncode == 0
    after = node.wait_running("web", pid=lambda p: p != before["pid"])
    with open(f"/proc/{after['pid']}/environ", "rb") as f:
        assert b"NEW=1\0" in f.read()
    assert after["restarts"] == 0
    finish(askings, port)
    node.stop()


def test_cancelled(solo, cluster):
    node = solo({"w": raw(cluster, "w", words=["stall@load"],
                          migration={"timeout": "30s", "downtime": "20s"})})
    client = Client(cluster, "w")
    before = node.wait_running("w")
    client.acks(5)
    assert swap(node, "w", "--no-wait").returncode == 0
    faults(cluster, "w").wait("load")
    running = harness.wait(lambda: [m for m in node.migrations("w") if m["result"] == "running"],
                           "it runs")[0]
    assert running["from"] == running["to"] == "a"
    assert node.ctl("cancel", running["id"][:12]).returncode == 0
    faults(cluster, "w").clear()
    assert node.wait_migration("w", "aborted")["reason"] == "cancelled by an operator"
    assert node.wait_running("w")["pid"] == before["pid"]
    client.acks(10)
    harness.wait(lambda: cluster.workers("w") == [before["pid"]], "the new one is gone")
    finish_all([client])
    node.stop()


def test_programs_without_the_protocol(solo, cluster):
    """The new one first, both for a while, then the old one is stopped."""
    port, path = free_port(), cluster.dir + "/notify.sock"
    # it stays, so that whose word it is can be seen when it is read
    notify = sh("sleep 0.3; exec /usr/bin/env python3 -c \"import os,socket,time;"
                " s=socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM);"
                " s.connect(os.environ['NOTIFY_SOCKET']); s.send(b'READY=1'); time.sleep(1000)\"",
                ready="notify", migration=dict(harness.FAST))
    node = solo({"plain": server({"tcp": f"tcp://127.0.0.1:{port}"}), "notify": notify})
    for child in ("plain", "notify"):
        before = node.wait_running(child)["pid"]
        done = swap(node, child)
        assert done.returncode == 0, (done, node.log())
        after = node.wait_running(child)["pid"]
        assert after != before and not harness.alive(before) and harness.alive(after)
        assert node.child(child)["restarts"] == 0
    node.stop()


def test_listeners_in_each_others_way(solo):
    """One address of a port becomes all of them, and one again, by reload: with its state, where
    the worker can hand it over, and without a start that fails, where it cannot."""
    ports = free_port("0.0.0.0"), free_port("0.0.0.0")
    node = solo({"web": web(ports[0]), "plain": server({"tcp": f"tcp://127.0.0.1:{ports[1]}"})})
    for name in ("web", "plain"):
        node.wait_running(name)
    for _ in range(3):
        get(ports[0], "/add", "POST")
    for host in ("0.0.0.0", "127.0.0.2", "[::]"):
        before = node.child("web")["pid"]
        for name, key, port in (("web", "http", ports[0]), ("plain", "tcp", ports[1])):
            node.config["children"][name]["listen"][key] = f"tcp://{host}:{port}"
        node.write()
        assert node.ctl("reload").returncode == 0
        node.wait_running("web", pid=lambda p: p != before)
        node.wait_migration("web", "done")
    assert not node.events("migration_aborted", "child_failed")
    assert not [e for e in node.events("child_restarting") if "cannot" in e.get("text", "")]
    assert get(ports[0])["count"] == 3
    assert ask(ports[1])[0] == "tcp"
    node.stop()


def test_one_of_several(solo):
    """Its number is shown wherever it is named, and it alone is replaced."""
    node = solo({"web": {**sleeper(migration={"retention": "100ms"}), "instances": 2}})
    pids = [node.wait_running("web", i)["pid"] for i in (0, 1)]
    done = node.ctl("swap", "web/0")
    assert done.returncode == 0, done
    assert node.wait_running("web", 0)["pid"] != pids[0]
    assert node.wait_running("web", 1)["pid"] == pids[1]
    rows = node.ctl("migrations", "--no-legend").stdout.splitlines()
    assert [row.split()[1] for row in rows] == ["web/0"]
    assert node.migrations("web")[0]["instances"] == 2


def test_what_is_refused(solo):
    node = solo({"none": sleeper(migration={"strategy": "none"}),
                 "must": sleeper(migration={**harness.FAST, "handover": True})})
    node.wait_running("none")
    node.wait_running("must")
    for child, why in (("none", "its migration.strategy is none"),
                       ("must", "its worker cannot hand over its state, and migration.handover is true")):
        done = swap(node, child)
        assert done.returncode == 1 and why in done.stderr, done
    node.ctl("stop", "none")
    done = swap(node, "none")
    assert done.returncode == 1 and "it is not running" in done.stderr, done
    assert swap(node, "nobody").returncode == 4
    assert node.ctl("swap").returncode == 2
    answer = node.ctl("swap", "must", "--json")
    assert '"result"' in answer.stdout + answer.stderr
    node.stop()


def test_in_a_cluster(cluster):
    """From any node, where it runs; with placement local each node swaps its own."""
    nodes = cluster.start("a", "b", children={
        "w": counter(), "agent": py_counter(placement={"strategy": "local"})})
    entry = cluster.wait_everywhere("w")
    client = Client(cluster, "w")
    client.acks(5)
    for node in nodes:
        before = cluster.wait_everywhere("w")
        assert swap(node, "w").returncode == 0
        after = cluster.wait_everywhere("w", pid=lambda p, old=before["pid"]: p != old)
        assert after["node"] == entry["node"] and after["epoch"] > before["epoch"]
        client.acks(5)
    finish_all([client])
    pids = sorted(cluster.workers("agent"))
    assert len(pids) == 2
    assert swap(nodes[0], "agent").returncode == 0
    harness.wait(lambda: len(cluster.workers("agent")) == 2 and
                 not set(cluster.workers("agent")) & set(pids), "both are new")
