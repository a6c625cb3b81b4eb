"""Groups: which members are restarted with one that failed, in which order, and how often."""

import json

import harness
import pytest
from raw import sh
from test_after import crash, lines, marked

NAMES = ("db", "api", "web")


def shop(cluster, strategy, **options):
    return {"shop": {"strategy": strategy, "children": list(NAMES), **options}}


def members(cluster, **options):
    return {name: marked(cluster, name, **options) for name in NAMES}


def running(node):
    return {name: node.wait_running(name)["pid"] for name in NAMES}


def changed(before, after):
    return [name for name in NAMES if before[name] != after[name]]


def wait_changed(node, before, names):
    for name in names:
        node.wait_running(name, pid=lambda p, old=before[name]: p not in (None, old))
    return running(node)


@pytest.mark.parametrize("strategy,failed,restarted", [
    ("one-for-one", "db", ["db"]),
    ("one-for-all", "api", ["db", "api", "web"]),
    ("rest-for-one", "db", ["db", "api", "web"]),
    ("rest-for-one", "api", ["api", "web"]),
    ("rest-for-one", "web", ["web"]),
])
def test_strategies(solo, cluster, strategy, failed, restarted):
    node = solo(members(cluster), groups=shop(cluster, strategy))
    before = running(node)
    assert lines(cluster) == ["db up", "api up", "web up"]
    crash(cluster, failed, before[failed])
    after = wait_changed(node, before, restarted)
    assert changed(before, after) == restarted
    # Stopped in the reverse order, started in the order of the list.
    said = lines(cluster)[3:]
    assert said == [f"{n} down" for n in reversed(NAMES) if n in restarted and n != failed] + [
        f"{n} up" for n in restarted]
    assert not node.events("child_failed")
    for name in NAMES:
        assert node.child(name)["restarts"] == (name in restarted)


def test_given_up_and_tried_again(solo, cluster):
    node = solo(members(cluster, restart={"retry_after": "2s", "on_limit": "retry"}),
                groups=shop(cluster, "one-for-all", intensity=2, within="1m"))
    pids = running(node)
    for _ in range(2):
        crash(cluster, "web", pids["web"])
        pids = wait_changed(node, pids, NAMES)
    crash(cluster, "db", pids["db"])
    for name in NAMES:
        failed = node.wait_event("child_failed", child=name)
        assert "groups.shop.intensity" in failed["text"], failed
    for name in NAMES:
        node.wait_child(name, state="failed")
    assert not [p for name in NAMES for p in cluster.workers(name)]
    wait_changed(node, pids, NAMES)
    assert len(node.events("child_failed")) == 3


def test_given_up_until_an_order(solo, cluster):
    node = solo(members(cluster, restart={"on_limit": "fail"}),
                groups=shop(cluster, "rest-for-one", intensity=1))
    pids = running(node)
    crash(cluster, "web", pids["web"])
    pids = wait_changed(node, pids, ["web"])
    crash(cluster, "web", pids["web"])
    for name in NAMES:
        node.wait_child(name, state="failed")
    assert node.ctl("status").returncode == 3
    assert node.ctl("start", *NAMES).returncode == 0
    running(node)


def test_a_group_that_crash_loops_is_bounded(solo, cluster):
    children = members(cluster, restart={"backoff": "10ms", "on_limit": "fail"})
    children["api"] = sh("exit 3", ready="protocol", restart={"backoff": "10ms", "on_limit": "fail"})
    node = solo(children, groups=shop(cluster, "one-for-all", intensity=3))
    node.wait_child("api", state="failed", timeout=20)
    for name in NAMES:
        node.wait_child(name, state="failed")
    assert node.child("api")["exit"] == {"code": 3}
    starts = [e for e in node.events("child_starting") if e["child"] == "api"]
    assert len(starts) == 4  # the first one and three restarts
    assert not [e for e in node.events("child_starting") if e["child"] == "web"]


def test_over_nodes(cluster):
    where = {"db": "a", "api": "b", "web": "a"}
    children = {name: marked(cluster, name, placement={"nodes": [where[name]]})
                for name in NAMES}
    a, b = cluster.start("a", "b", children=children, groups=shop(cluster, "one-for-all"))
    before = {name: cluster.wait_everywhere(name, node=where[name])["pid"] for name in NAMES}
    crash(cluster, "api", before["api"])
    for name in NAMES:
        a.wait_running(name, pid=lambda p, old=before[name]: p not in (None, old), timeout=15)
    assert [x for x in lines(cluster) if x.endswith("up")] == [
        "db up", "api up", "web up"] * 2


def test_reload_changes_a_group(solo, cluster):
    node = solo(members(cluster), groups=shop(cluster, "one-for-one"))
    before = running(node)
    node.config["groups"] = {"shop": {"strategy": "one-for-all", "children": ["db", "api"]}}
    node.write()
    answer = node.call("reload")
    assert sorted((c["child"], c["restart"]) for c in answer["changed"]) == [
        ("api", False), ("db", False), ("web", False)], answer
    assert running(node) == before
    crash(cluster, "db", before["db"])
    after = wait_changed(node, before, ["db", "api"])
    assert changed(before, after) == ["db", "api"]


def test_effective_configuration(cluster):
    node = cluster.node("a", members(cluster), alone=True, groups=shop(cluster, "rest-for-one"))
    node.write()
    done = harness.subprocess.run([harness.PROCHUBD, "-T", "-c", node.file], capture_output=True,
                                  text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert "strategy: rest-for-one" in done.stdout and "children: [db, api, web]" in done.stdout
    with open(node.file, "w") as f:
        f.write(done.stdout)
    again = harness.subprocess.run(
        [harness.PROCHUBD, "-t", "-c", node.file], capture_output=True, text=True, timeout=20)
    assert again.returncode == 0, node.start_again.stderr
    for text, sentence in {
        "groups: {s: {children: [bd]}}": "'bd' is not a child of this configuration, did you mean",
        "groups: {s: {children: [db]}, t: {children: [db]}}": "a child is in one group at most",
        "groups: {s: {children: [db], strategy: all}}": "is not one of one-for-one, one-for-all",
    }.items():
        node.write(text + "\nchildren: " + json.dumps({"db": {"command": ["x"]}}))
        done = harness.subprocess.run([harness.CTL, "check", node.file], capture_output=True,
                                      text=True, timeout=20)
        assert done.returncode != 0 and sentence in done.stderr, done
