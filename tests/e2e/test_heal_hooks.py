"""What lost when two owners met is given to the hook `conflict`: merged, or kept as without one."""

import json
import os
import signal
import time

import harness
import pytest
from raw import counter
from test_heal import ask, count_up, cut_off, kept_files, owners, wait_both_own, wait_healed

# Replays what the loser's clients did at the winner's: lines "CLIENT SUM LAST".
MERGE = """
import json, os, socket, sys
event = json.loads(sys.stdin.readline())
assert event["event"] == os.environ["PROCHUB_EVENT"] == "conflict", event
assert event["state"] == os.environ["PROCHUB_STATE"], event
assert event["winner"]["node"] == os.environ["PROCHUB_WINNER_NODE"], event
assert event["winner"]["epoch"] == int(os.environ["PROCHUB_WINNER_EPOCH"]), event
assert event["winner"]["meta"] == json.loads(os.environ["PROCHUB_WINNER_META"]), event
assert event["loser"] == {"node": os.environ["PROCHUB_NODE"],
                          "epoch": int(os.environ["PROCHUB_EPOCH"])}, event
assert event["child"] == os.environ["PROCHUB_CHILD"] == sys.argv[1], event
assert event["instance"] == int(os.environ["PROCHUB_INSTANCE"]), event
assert event["format"] == os.environ["PROCHUB_STATE_FORMAT"], event
assert event["version"] == int(os.environ["PROCHUB_STATE_VERSION"]), event
host, port = event["winner"]["meta"]["address"].split(":")
with open(event["state"]) as f:
    lines = [line.split() for line in f]
with socket.create_connection((host, int(port)), 5) as s:
    answers = s.makefile()
    for client, last in [(line[0], int(line[-1])) for line in lines]:
        for seq in range(1, last + 1):
            s.sendall(f"inc {client} {seq}\\n".encode())
            assert answers.readline().startswith("ok "), client
print("merged", event["format"], event["version"], os.path.basename(event["state"]))
"""


def merge_hook(script, **options):
    return {"merge": {"on": ["conflict"], "command": ["/bin/sh", "-c", script], **options}}


def whole_log(node):
    with open(node.output, errors="replace") as f:
        return f.read()


def split(cluster, hooks, children=None, *keys):
    """(loser, its entry, olds): both sides own all, and hold each other for dead no longer."""
    keys = keys or [("c", 0)]
    a, b = cluster.start("a", "b", children=children or {"c": counter()}, hooks=hooks)
    olds = owners(cluster, *keys)
    with cut_off(b):
        sides = wait_both_own(a, b, *keys)
        for key, old in olds.items():
            count_up(old, "before", 2)
            count_up(sides["ab".strip(old["node"])][key], "elsewhere", 3)
    loser = cluster.nodes["ab".strip(olds[keys[0]]["node"])]
    return loser, sides[loser.name][keys[0]], olds


def resolved(cluster, loser, timeout=30):
    """What both nodes say of it."""
    other = cluster.nodes["ab".strip(loser.name)]
    mine, theirs = (n.wait_event("conflict_resolved", timeout, child="c") for n in (loser, other))
    for field in ("winner", "loser", "kept", "merged"):
        assert mine[field] == theirs[field]
    return mine


def test_merged(cluster):
    """The application's own means put together what both sides have done; no file is left."""
    hooks = {"merge": {"on": ["conflict"],
                       "command": [harness.PYTHON, "-S", "-c", MERGE.replace("%", "%%"), "%c"]}}
    keys = [("c", i) for i in range(6)]
    loser, _, olds = split(cluster, hooks, {"c": counter(instances=6)}, *keys)
    wait_healed(cluster, olds)
    for key, old in olds.items():
        for node in cluster.live:
            event = node.wait_event("conflict_resolved", child=key[0], instance=key[1])
            assert event["merged"] is True and event["kept"] is None, whole_log(loser)
            assert event["winner"]["node"] == old["node"]
        now = loser.child(*key)
        assert ask(now, "get before")[0] == 2
        assert ask(now, "get elsewhere")[0] == 3
    assert kept_files(cluster.nodes["a"]) + kept_files(cluster.nodes["b"]) == []
    assert sum(whole_log(n).count("hook merge: merged counter ") for n in cluster.live) == 6


FAILURES = {
    "fails": ("exit 1", {}, "exit code 1"),
    "dies": ("kill -KILL $$", {}, "killed by signal 9"),
    "hangs": ("trap '' TERM; sleep 1000", {"timeout": "500ms"}, "killed by signal 9"),
    "forks": ("sleep 1000 & (setsid sleep 1 &) ; exit 1", {}, "exit code 1"),
    "floods": ("exec yes", {"timeout": "1s"}, "killed by signal 15"),
}


@pytest.mark.parametrize("how", [*FAILURES, "missing", "gone"])
def test_not_merged(cluster, how):
    """Whatever the hook does wrong, the state stays in its file, and nothing waits for the hook."""
    script, options, why = FAILURES.get(how, ("", {}, ""))
    hooks = merge_hook(script, **options)
    if how == "missing":
        hooks["merge"]["command"], why = ["/no/such/hook"], "cannot be started: "
    elif how == "gone":
        hooks, why = {"merge": {"on": ["node_dead"], "command": ["true"]}}, ""
    loser, entry, olds = split(cluster, hooks)
    wait_healed(cluster, olds)
    event = resolved(cluster, loser)
    assert event["merged"] is False
    assert event["kept"].startswith(f"conflicts/c-0-{entry['epoch']}-")
    with open(os.path.join(loser.state_dir, event["kept"]), "rb") as f:
        assert b"elsewhere 3 3\n" in f.read()
    assert len(kept_files(loser)) == 1
    assert why in whole_log(loser)
    assert ask(loser.child("c"), "get before")[0] == 2
    harness.wait(lambda: not harness.processes_of(f"{loser.state_dir}/conflicts"),
                 "what has left the hook's session has ended by itself, the rest with it")


def test_daemon_killed_while_it_merges(cluster):
    """Nobody knows how far the hook got: the file stays, and both nodes say so."""
    go = f"{cluster.dir}/go"
    loser, entry, olds = split(cluster, merge_hook(
        f"echo begun; while [ ! -e {go} ]; do sleep 0.05; done", timeout="1h"))
    harness.wait(lambda: "hook merge: begun" in whole_log(loser), lambda: whole_log(loser), 30)
    (name,) = kept_files(loser)
    loser.kill()
    loser.start()
    cluster.wait_members()
    wait_healed(cluster, olds)
    event = resolved(cluster, loser)
    assert event["merged"] is False and event["kept"] == f"conflicts/{name}"
    assert event["loser"] == {"node": loser.name, "epoch": entry["epoch"]}
    open(go, "w").close()
    harness.wait(lambda: not harness.processes_of(f"{loser.state_dir}/conflicts"),
                 "the hook has ended, well")
    assert kept_files(loser) == [name]
    assert name.startswith(f"c-0-{entry['epoch']}-")


@pytest.mark.parametrize("well", [True, False])
def test_daemon_stopped_while_it_merges(cluster, well):
    """A stop waits for it a while; one that ends well meanwhile has done its work."""
    go = f"{cluster.dir}/go"
    script = f"echo begun; while [ ! -e {go} ]; do sleep 0.05; done" if well else \
        "echo begun; trap '' TERM; sleep 1000"
    loser, _, olds = split(cluster, merge_hook(script, timeout="1h"))
    harness.wait(lambda: "hook merge: begun" in whole_log(loser), lambda: whole_log(loser), 30)
    wait_healed(cluster, olds)  # which did not wait for it
    loser.process.send_signal(signal.SIGTERM)
    harness.wait(lambda: "signal 15: stopping" in whole_log(loser), "it stops")
    open(go, "w").close()
    loser.stop(timeout=60, asked=True)
    assert len(kept_files(loser)) == (0 if well else 1)


def test_many_at_once(cluster):
    """Four hooks at a time; all losers are stopped at once, and each state has its turn."""
    go, log = f"{cluster.dir}/go", f"{cluster.dir}/log"
    keys = [("c", i) for i in range(24)]
    _, _, olds = split(cluster, merge_hook(
        f"echo x >>{log}; while [ ! -e {go} ]; do sleep 0.05; done; "
        "exit $((PROCHUB_INSTANCE % 2))".replace("%", "%%"), timeout="1h"),
        {"c": counter(instances=24)}, *keys)
    wait_healed(cluster, olds)
    a, b = cluster.nodes["a"], cluster.nodes["b"]
    lost = {n.name: sum(old["node"] != n.name for old in olds.values()) for n in (a, b)}
    harness.wait(lambda: len(kept_files(a)) + len(kept_files(b)) == len(keys),
                 lambda: (kept_files(a), kept_files(b)))
    expected = sum(min(4, n) for n in lost.values())
    harness.wait(lambda: os.path.exists(log) and os.path.getsize(log) == 2 * expected, lost)
    open(go, "w").close()
    for child, instance in keys:
        for node in (a, b):
            event = node.wait_event("conflict_resolved", 30, child=child, instance=instance)
            assert event["merged"] == (instance % 2 == 0)
    assert os.path.getsize(log) == 2 * len(keys)
    assert len(kept_files(a)) + len(kept_files(b)) == len(keys) // 2


def test_conflict_keep(cluster):
    """So long and no longer; a reload brings it."""
    a = cluster.node("a", alone=True)
    a.config["cluster"] = {"conflict_keep": "1h"}
    folder = os.path.join(a.state_dir, "conflicts")
    os.makedirs(folder)
    os.chmod(a.state_dir, 0o700)
    now = time.time()
    for name, age in (("new", 0), ("older", 1800), ("old", 3700)):
        path = os.path.join(folder, name)
        open(path, "w").close()
        os.utime(path, (now - age, now - age))
    a.start()
    harness.wait(lambda: kept_files(a) == ["new", "older"], lambda: kept_files(a))
    a.config["cluster"]["conflict_keep"] = "10m"
    a.write()
    assert json.dumps(a.call("reload")["options"]) == \
        '[{"option": "cluster.conflict_keep", "reloadable": true}]'
    harness.wait(lambda: kept_files(a) == ["new"], lambda: kept_files(a))
