"""Several nodes: seeing each other, cold start, join, move, drain and leave under load."""

import os
import shutil
import signal
import time

import harness
import pytest
from clients import Client, finish_all
from raw import counter, ends, faults, py_counter, raw, sleeper


def owners(cluster, child, count):
    """{instance: node} as every live node says the same."""
    return {i: cluster.wait_everywhere(child, i)["node"] for i in range(count)}


def assert_single(cluster, child, count=1):
    for i in range(count):
        cluster.wait_single(child, i)


def test_two_daemons_see_each_other(cluster):
    a, b = cluster.start("a", "b")
    for node in (a, b):
        status = node.status()
        assert sorted(n["name"] for n in status["nodes"]) == ["a", "b"]
        assert all(n["state"] == "alive" for n in status["nodes"])
        assert status["cluster"] == "e2e" or status["cluster"]["name"] == "e2e"
    assert a.wait_event("node_joined", peer="b")
    b.stop()
    harness.wait(lambda: {n["name"]: n["state"] for n in a.status()["nodes"]}.get("b")
                 in (None, "left"), "b has left")
    assert not a.events("node_dead", "node_suspect")


def test_node_dies_and_its_children_go_on_elsewhere(cluster):
    a, b = cluster.start("a", "b", children={"room": counter(instances=6)})
    where = owners(cluster, "room", 6)
    assert set(where.values()) == {"a", "b"}
    pids = {i: a.child("room", i)["pid"] for i, name in where.items() if name == "a"}
    b.kill_node()
    a.wait_event("node_dead", peer="b")
    for i in range(6):
        a.wait_running("room", i, node="a")
    assert all(a.child("room", i)["pid"] == pid for i, pid in pids.items())
    b.start()
    cluster.wait_members()
    cluster.wait_calm()
    owners(cluster, "room", 6)
    assert_single(cluster, "room", 6)


def test_cold_start_of_three_at_once(cluster):
    children = {"room": sleeper(instances=12), "web": sleeper(),
                "own": sleeper(placement={"strategy": "local"})}
    nodes = cluster.start("a", "b", "c", children=children,
                          cluster={"join_timeout": "10s"})  # for the slowest of them
    where = owners(cluster, "room", 12)
    assert set(where.values()) == {"a", "b", "c"}
    assert_single(cluster, "room", 12)
    assert_single(cluster, "web")
    assert len(cluster.workers("own")) == 3
    starts = [e for n in nodes for e in n.events("child_starting") if e["child"] != "own"]
    assert len(starts) == 13, starts
    assert not [m for n in nodes for m in n.migrations()]


def test_joins_and_leaves_under_load(cluster):
    children = {"c": counter(instances=6), "py": py_counter(instances=2)}
    keys = [("c", i) for i in range(6)] + [("py", i) for i in range(2)]
    a = cluster.node("a", children).start()
    clients = [Client(cluster, *key) for key in keys]
    for client in clients:
        client.acks(20)
    for name in ("b", "c"):
        cluster.node(name, children).start()
        cluster.wait_members()
        harness.wait(lambda: any(m["to"] == name for m in a.migrations()), f"moves to {name}")
        cluster.wait_calm()
        assert name in {cluster.wait_everywhere(*key)["node"] for key in keys}
        for client in clients:
            client.acks(5)

    c = cluster.nodes["c"]
    result = c.ctl("drain")
    assert result.returncode == 0, result
    assert "c" not in {cluster.wait_everywhere(*key)["node"] for key in keys}
    assert next(n for n in a.status()["nodes"] if n["name"] == "c")["draining"]
    assert a.ctl("undrain", "c").returncode == 0
    harness.wait(lambda: not any(n["draining"] for n in a.status()["nodes"]), "undrained")
    harness.wait(lambda: "c" in {a.child(*key)["node"] for key in keys}, "some come back")
    cluster.wait_calm()
    assert a.ctl("drain", "c").returncode == 0
    for key in keys:
        assert cluster.wait_everywhere(*key)["node"] != "c"
        cluster.wait_single(*key)
    c.stop()
    finish_all(clients)
    done = [m for n in cluster.live for m in n.migrations() if m["result"] == "done"]
    assert done and all(m["downtime_ms"] is not None for m in done)
    assert max(client.longest for client in clients) < 4, [
        (c.child, c.instance, c.longest, c.longest_at) for c in clients]


def test_leave_drains_first(cluster):
    cluster.start("a", "b", children={"room": counter(instances=4)},
                  node={"drain_on_stop": True})
    clients = [Client(cluster, "room", i) for i in range(4)]
    for client in clients:
        client.acks(10)
    a, b = cluster.nodes["a"], cluster.nodes["b"]
    assert "b" in owners(cluster, "room", 4).values()
    b.stop()
    assert set(owners(cluster, "room", 4).values()) == {"a"}
    assert not [e for e in a.events("node_dead")]
    assert_single(cluster, "room", 4)
    finish_all(clients)
    a.config["node"]["drain_on_stop"] = False


def node_state(node, name):
    return {n["name"]: n["state"] for n in node.status()["nodes"]}.get(name)


def test_drained_stop_waits_for_who_is_joining(cluster):
    """A rolling restart: b is stopped while a, the only one that could have its children, comes."""
    a, b = cluster.start("a", "b", children={"room": counter(instances=4)},
                         node={"drain_on_stop": True})
    clients = [Client(cluster, "room", i) for i in range(4)]
    for client in clients:
        client.acks(10)
    a.stop()
    a.start(ready=False)
    harness.wait(lambda: node_state(b, "a") in ("joining", "alive"), "b hears of a", pause=0.005)
    b.stop()
    assert set(owners(cluster, "room", 4).values()) == {"a"}
    finish_all(clients)
    assert b.whole_log().count("migration_started") >= 4
    a.config["node"]["drain_on_stop"] = False


@pytest.mark.parametrize("make", [counter, py_counter])
def test_move_and_lookup(cluster, make):
    cluster.start("a", "b", "c", children={"room": make()})
    client = Client(cluster, "room")
    client.acks(20)
    for _ in range(3):
        source, target = ends(cluster, "room")
        before = source.child("room")
        result = source.ctl("move", "room", target.name)
        assert result.returncode == 0, result
        for node in cluster.live:
            (found,) = node.lookup("room")
            assert (found["node"], found["ready"], found["role"]) == (target.name, True, "active")
            assert found["epoch"] > before["epoch"]
        entry = cluster.wait_everywhere("room", node=target.name)
        assert cluster.wait_single("room") == entry["pid"] != before["pid"]
        done = target.wait_migration("room", "done")
        assert done["bytes"] > 0 and done["downtime_ms"] < 2000
        client.acks(20)
    shown = {n.name: n.wait_migration("room") for n in (source, target)}
    assert shown[source.name]["id"] == shown[target.name]["id"]
    assert shown[source.name]["result"] == shown[target.name]["result"] == "done"
    found = source.call("migrations", id=done["id"])["migrations"]
    assert [m["id"] for m in found] == [done["id"]]
    assert target.events("child_migrated") or source.events("child_migrated")
    client.finish()


def test_lookup_of_a_node_that_is_cut_off(cluster):
    """It says so, on the control socket and to its workers."""
    a, b = cluster.start("a", "b", children={"own": sleeper(placement={"strategy": "local"})})
    asks = raw(cluster, "asks", "--watch", "own", placement={"nodes": ["a"]})
    a.config["children"]["asks"] = asks
    a.write()
    assert a.ctl("reload").returncode == 0
    asked = faults(cluster, "asks")
    pid = asked.wait("found:a")
    assert "stale" not in a.call("lookup", child="own")
    assert not [word for word in asked.words(pid) if "stale" in word]
    b.kill_node()
    harness.wait(lambda: a.call("lookup", child="own").get("stale"), "a knows that it is alone")
    harness.kill(a.wait_running("asks")["pid"])
    asked.wait("found:a:stale")
    b.start()
    cluster.wait_members()
    harness.wait(lambda: "stale" not in a.call("lookup", child="own"), "it is not any more")


def test_a_move_stays(cluster):
    """What an operator has moved is not moved back by the next plan."""
    cluster.start("a", "b", children={"room": sleeper()})
    source, target = ends(cluster, "room")
    assert source.ctl("move", "room", target.name).returncode == 0
    pid = cluster.wait_single("room")
    cluster.node("c", {"room": sleeper(), "extra": sleeper()}).start()
    cluster.wait_members()
    cluster.wait_everywhere("extra")
    cluster.wait_calm()
    entry = cluster.wait_everywhere("room")
    assert entry["pid"] == pid or entry["node"] == "c"


def test_move_of_all_instances_from_another_node(cluster):
    cluster.start("a", "b", "c", children={"room": counter(instances=4)})
    clients = [Client(cluster, "room", i) for i in range(4)]
    for client in clients:
        client.acks(10)
    assert cluster.nodes["a"].ctl("move", "room", "c").returncode == 0
    assert set(owners(cluster, "room", 4).values()) == {"c"}
    assert cluster.nodes["b"].ctl("move", "room/2", "a").returncode == 0
    assert owners(cluster, "room", 4) == {0: "c", 1: "c", 2: "a", 3: "c"}
    assert_single(cluster, "room", 4)
    finish_all(clients)


def test_children_that_one_file_alone_declares(cluster):
    a = cluster.node("a", {"web": sleeper(), "only-a": sleeper(instances=4)}).start()
    cluster.node("b", {"web": sleeper()}).start()
    cluster.wait_members()
    cluster.wait_calm()
    owners(cluster, "only-a", 4)
    del a.config["children"]["only-a"]
    a.write()
    assert a.ctl("reload").returncode == 0
    harness.wait(lambda: not any(cluster.workers("only-a", i) for i in range(4)),
                 lambda: "none is left" + "".join(n.log() for n in cluster.live))
    for node in cluster.live:
        harness.wait(lambda: node.child("only-a") is None, "and none is known")
    assert_single(cluster, "web")


def test_dropped_while_the_other_declarer_stands_still(cluster):
    """Its daemon is hung for a moment, not dead: what it declares is not removed."""
    web = {"web": sleeper(placement={"nodes": ["a"]})}
    a, b = cluster.start("a", "b", children=web, cluster={"failure_timeout": "4s"})
    pid = cluster.wait_everywhere("web", node="a")["pid"]
    b.process.send_signal(signal.SIGSTOP)
    try:
        a.config["children"].clear()
        a.write()
        assert a.ctl("reload").returncode == 0
        time.sleep(2)
    finally:
        b.process.send_signal(signal.SIGCONT)
    time.sleep(2)
    assert not a.events("child_removed", "node_dead")
    assert cluster.wait_everywhere("web", node="a")["pid"] == pid


def test_a_file_changes_where_the_child_does_not_run(cluster):
    """It is taken by an owner whose own file does not know the child, and by no other."""
    a = cluster.node("a", {"own": sleeper(placement={"nodes": ["b"]}),
                           "both": sleeper(placement={"nodes": ["b"]})}).start()
    b = cluster.node("b", {"both": sleeper(placement={"nodes": ["b"]})}).start()
    cluster.wait_members()
    before = {name: cluster.wait_everywhere(name, node="b") for name in ("own", "both")}
    for name in before:
        a.config["children"][name]["env"] = {"NEW": "1"}
    a.write()
    assert a.ctl("reload").returncode == 0
    entry = cluster.wait_everywhere("own", node="b", differs=False,
                                    pid=lambda pid: pid not in (None, before["own"]["pid"]))
    assert cluster.wait_single("own") == entry["pid"]
    assert a.call("show", child="own")["spec"]["env"] == {"NEW": "1"}
    a.wait_child("both", pid=before["both"]["pid"], differs=True)
    assert b.events("child_changed")


def test_placement_to_named_nodes(cluster):
    cluster.start("a", "b", children={
        "on-b": sleeper(placement={"nodes": ["b*"]}, instances=3),
        "none": sleeper(placement={"nodes": ["zz"]})})
    assert set(owners(cluster, "on-b", 3).values()) == {"b"}
    entry = cluster.nodes["a"].child("none")
    assert entry is None or entry["state"] == "waiting"
    assert not cluster.workers("none")


def test_stop_is_the_wish_of_the_cluster(cluster):
    cluster.start("a", "b", children={"room": sleeper(instances=3), "web": sleeper()})
    owners(cluster, "room", 3)
    assert cluster.nodes["a"].ctl("stop", "room").returncode == 0
    for i in range(3):
        harness.wait(lambda: not cluster.workers("room", i), "it is stopped")
    cluster.node("c", {"room": sleeper(instances=3)}).start()
    cluster.wait_members()
    cluster.wait_calm()
    assert not any(cluster.workers("room", i) for i in range(3))
    assert cluster.nodes["b"].ctl("start", "room").returncode == 0
    owners(cluster, "room", 3)
    assert_single(cluster, "room", 3)


def test_a_stop_that_is_overtaken_is_answered(cluster):
    """Whoever owns the child: the start that came right behind counts, and both are answered."""
    a, b = cluster.start("a", "b", children={"c": sleeper(instances=4)})
    of = owners(cluster, "c", 4)
    assert set(of.values()) == {"a", "b"}
    for i in of:
        with a.control(timeout=8) as control:
            stop = control.send("stop", child="c", instance=i)
            start = control.send("start", child="c", instance=i)
            told = {line["re"]: line for line in (control.read(), control.read())}
        assert told[start]["children"][0]["result"] == "done", told
        line = told[stop]["children"][0]
        assert line["result"] == "done" or line["text"] == "it was started again meanwhile", told
        for node in (a, b):
            node.wait_child("c", i, state="running", wanted=True)


def test_what_one_node_cannot_start_runs_on_the_other(cluster):
    """The program is there on b alone, and then on none."""
    program = f"{cluster.dir}/work-b"
    shutil.copy("/bin/sleep", program)
    children = {"room": {"command": [f"{cluster.dir}/work-%n", "1000"], "instances": 8}}
    a, b = cluster.start("a", "b", children=children)
    for i in range(8):
        assert cluster.wait_everywhere("room", i)["node"] == "b"
    assert_single(cluster, "room", 8)
    assert "cannot be started" in a.whole_log() and "is left to other nodes" in a.whole_log()
    os.unlink(program)
    harness.kill(b.child("room")["pid"])
    harness.wait(lambda: b.child("room")["state"] in ("backoff", "failed"), "nobody can start it")


def test_gossip_tells_all_through_a_few(cluster):
    """Each change goes to one other node: what that one does not pass on is repaired."""
    gossip = {"synchronization": {"strategy": "gossip", "fanout": 1, "interval": "2s"}}
    nodes = cluster.start("a", "b", "c", children={"room": counter(instances=9)}, cluster=gossip)
    assert set(owners(cluster, "room", 9).values()) == {"a", "b", "c"}
    clients = [Client(cluster, "room", i) for i in range(3)]
    for client in clients:
        client.acks(10)
    for round_no in range(3):
        old = {i: cluster.wait_everywhere("room", i)["pid"] for i in range(3, 9)}
        for pid in old.values():
            harness.kill(pid)
        for i, pid in old.items():
            harness.wait(lambda: all(n.child("room", i)["pid"] not in (None, 0, pid)
                                     and n.child("room", i)["ready"] for n in nodes),
                         f"all know the new process of room/{i}")
            assert len({n.child("room", i)["pid"] for n in nodes}) == 1
        source, target = ends(cluster, "room", round_no)
        assert source.ctl("move", f"room/{round_no}", target.name).returncode == 0
        cluster.wait_everywhere("room", round_no, node=target.name)
    assert nodes[0].ctl("drain", "b").returncode == 0
    for i in range(9):
        assert cluster.wait_everywhere("room", i)["node"] != "b"
    finish_all(clients)
    nodes[2].kill_node()
    nodes[0].wait_event("node_dead", peer="c")
    for i in range(9):
        cluster.wait_everywhere("room", i, node="a")
        cluster.wait_single("room", i)
