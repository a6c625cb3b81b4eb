"""Two sides that hold each other for dead own everything twice; then they meet again."""

import contextlib
import os
import signal
import socket
import stat

import harness
import pytest
from raw import counter, py_counter, sleeper


BIG = 20_000_000  # bytes of state


@contextlib.contextmanager
def cut_off(node):
    """Nothing goes between that node and the others: its bus process stands still."""
    bus = node.bus_pid()
    os.kill(bus, signal.SIGSTOP)
    try:
        yield
    finally:
        harness.kill(bus, signal.SIGCONT)


def ask(entry, line):
    """The numbers of a counter's answer: (updates of that client, epoch)."""
    host, port = entry["meta"]["address"].split(":")
    with socket.create_connection((host, int(port)), 5) as s:
        s.sendall(line.encode() + b"\n")
        word, *numbers = s.makefile("rb").readline().split()
    assert word == b"ok"
    return tuple(map(int, numbers))


def count_up(entry, client, n):
    for seq in range(1, n + 1):
        assert ask(entry, f"inc {client} {seq}")[0] == seq


def owners(cluster, *keys):
    return {key: cluster.wait_everywhere(*key) for key in keys}


def wait_both_own(a, b, *keys):
    """Each of the two runs all of them; what each says of them."""
    a.wait_event("node_dead", peer="b", timeout=20)
    b.wait_event("node_dead", peer="a", timeout=20)
    return {node.name: {key: node.wait_running(*key, node=node.name, timeout=20) for key in keys}
            for node in (a, b)}


def wait_healed(cluster, olds):
    """Everywhere the old process of each key owns it, and no other one is left."""
    cluster.wait_members()
    for key, old in olds.items():
        cluster.wait_everywhere(*key, pid=old["pid"], node=old["node"])
        assert cluster.wait_single(*key) == old["pid"]


def kept_files(node):
    path = os.path.join(node.state_dir, "conflicts")
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def test_older_state_goes_on_and_the_other_is_kept(cluster):
    keys = [("c", 0), ("c", 1), ("c", 2), ("c", 3), ("py", 0), ("py", 1), ("big", 0)]
    a, b = cluster.start("a", "b", children={
        "c": counter(instances=4), "py": py_counter(instances=2),
        "big": counter("--ballast", str(BIG))})
    olds = owners(cluster, *keys)
    assert {old["node"] for old in olds.values()} == {"a", "b"}
    for old in olds.values():
        count_up(old, "before", 7)
    with cut_off(b):
        sides = wait_both_own(a, b, *keys)
        for key, old in olds.items():
            mine, other = sides[old["node"]][key], sides["ab".strip(old["node"])][key]
            assert mine["pid"] == old["pid"] and other["epoch"] > old["epoch"]
            count_up(mine, "meanwhile", 3)
            count_up(other, "elsewhere", 2)
    wait_healed(cluster, olds)
    for (child, instance), old in olds.items():
        now = a.child(child, instance)
        other = sides["ab".strip(old["node"])][child, instance]
        assert now["epoch"] > other["epoch"] > old["epoch"]
        harness.wait(lambda: ask(now, "get before") == (7, now["epoch"]),
                     lambda: f"{child}/{instance} has its epoch: {ask(now, 'get before')}")
        assert ask(now, "get meanwhile")[0] == 3
        assert ask(now, "get elsewhere")[0] == 0
        events = [node.wait_event("conflict_resolved", child=child, instance=instance)
                  for node in (a, b)]
        for event in events:
            assert event["winner"] == {"node": old["node"], "epoch": now["epoch"]}
            assert event["loser"] == {"node": other["node"], "epoch": other["epoch"]}
            assert event["kept"].startswith(f"conflicts/{child}-{instance}-{other['epoch']}-")
            assert "text" not in event
        path = os.path.join(cluster.nodes[other["node"]].state_dir, events[0]["kept"])
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with open(path, "rb") as f:
            assert b"elsewhere 2 2\n" in f.read(200), path
        assert (os.stat(path).st_size > BIG) == (child == "big")
    assert len(kept_files(a)) + len(kept_files(b)) == len(keys)


def test_no_room_and_workers_without_state(cluster):
    """What cannot be kept is told; who knows no protocol is just stopped."""
    keys = [("c", 0), ("c", 1), ("plain", 0)]
    a, b = cluster.start("a", "b", children={"c": counter(instances=2), "plain": sleeper()})
    olds = owners(cluster, *keys)
    for node in (a, b):
        with open(os.path.join(node.state_dir, "conflicts"), "w"):
            pass  # where the directory should be
    with cut_off(b):
        sides = wait_both_own(a, b, *keys)
    wait_healed(cluster, olds)
    for (child, instance), old in olds.items():
        loser = cluster.nodes["ab".strip(old["node"])]
        event = loser.wait_event("conflict_resolved", child=child, instance=instance)
        assert event["loser"]["epoch"] == sides[loser.name][child, instance]["epoch"]
        assert event["kept"] is None
        assert event["text"] == ("Not a directory" if child == "c"
                                 else "its worker does not hand over its state")


def test_orders_of_both_sides_count_after_they_meet(cluster):
    """What is stopped, or started, on one side is so on both then, whichever copy goes on."""
    keys = [("c", i) for i in range(6)]
    a, b = cluster.start("a", "b", children={"c": counter(instances=6)})
    olds = owners(cluster, *keys)
    of = {node.name: [key for key in keys if olds[key]["node"] == node.name] for node in (a, b)}
    (a_early, a_own, a_other), (b_early, b_own, b_other) = of["a"][:3], of["b"][:3]

    def order(node, verb, *what):
        done = node.ctl(verb, *(f"c/{i}" for _, i in what), "--timeout=10s")
        assert done.returncode == 0, done
    order(a, "stop", a_early, b_early)
    for node in (a, b):
        for key in (a_early, b_early):
            node.wait_child(*key, state="stopped", wanted=False)
    with cut_off(b):
        wait_both_own(a, b, a_own, b_own, a_other, b_other)
        order(a, "stop", a_own, b_other)  # its own one, and the other's, which it has now too
        order(b, "stop", b_own, a_other)
        order(a, "start", b_early)
        order(b, "start", a_early)
    cluster.wait_members()
    for node in (a, b):
        for key in (a_own, b_other, b_own, a_other):
            node.wait_child(*key, state="stopped", wanted=False, timeout=10)
        for key in (a_early, b_early):
            node.wait_child(*key, state="running", wanted=True, timeout=10)
    order(b, "start", a_own, b_other, b_own, a_other)
    for node in (a, b):
        for key in keys:
            node.wait_child(*key, state="running", wanted=True, timeout=10)
    assert len({cluster.wait_single(*key) for key in keys}) == 6


@pytest.mark.parametrize("restarted", ["winner", "loser"])
def test_daemon_restarted_before_they_meet(cluster, restarted):
    """The beginning of a state is not forgotten with the daemon that has seen it."""
    a, b = cluster.start("a", "b", children={"c": counter()})
    olds = owners(cluster, ("c", 0))
    old = olds["c", 0]
    winner, loser = cluster.nodes[old["node"]], cluster.nodes["ab".strip(old["node"])]
    count_up(old, "before", 4)
    with cut_off(b):
        sides = wait_both_own(a, b, ("c", 0))
        node = winner if restarted == "winner" else loser
        node.kill()
        if node is a:
            a.start()
            a.wait_running("c", pid=sides["a"]["c", 0]["pid"])
    if node is b:  # its bus process has ended with it
        b.start()
    wait_healed(cluster, olds)
    assert ask(a.child("c"), "get before")[0] == 4
    assert loser.wait_event("conflict_resolved", child="c")["winner"]["node"] == winner.name
    assert len(kept_files(loser)) == 1
