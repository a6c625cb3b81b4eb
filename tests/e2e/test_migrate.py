"""One migration: refusals, rejects, limits, big states, retention, and workers that misbehave."""

import collections
import json
import os
import re
import signal
import time

import harness
import pytest
from clients import Client, finish_all
from raw import RAW, counter, ends, faults, py_counter, raw, sh, sleeper

MB = 1024 * 1024


CLUSTER = {"failure_timeout": "10s"}  # no node dies here, however busy its machine is


def CHILDREN(cluster):
    return {
        "good": raw(cluster, "good"),
        "no-rounds": raw(cluster, "no-rounds", "--caps", "handover,ask"),
        "no-ask": raw(cluster, "no-ask", "--caps", "handover"),
        "wrapped": {**raw(cluster, "wrapped"), "command": [
            "/bin/sh", "-c", f"{harness.PYTHON} -S -E {RAW} --faults "
            f"{faults(cluster, 'wrapped').path}; exit $?"]},
        "churns": raw(cluster, "churns", "--ballast", str(4 * MB), "--churn", str(MB),
                      migration={"rounds_max": 4}),
        "watched": sleeper(),
        "watcher": raw(cluster, "watcher", "--watch", "watched"),
        "freezes-late": raw(cluster, "freezes-late", migration={"downtime": "300ms"},
                            stop_timeout="5s"),
        "trickles": raw(cluster, "trickles", "--ballast", str(MB), migration={"timeout": "1500ms"}),
        "trickles-frozen": raw(cluster, "trickles-frozen", "--ballast", str(MB), "--caps",
                               "handover,ask", migration={"timeout": "1500ms"}),
        "hangs": raw(cluster, "hangs", migration={"downtime": "300ms"}, stop_timeout="700ms"),
        "overlap": raw(cluster, "overlap", "--caps", ""),
        "plain": sleeper(),
        "idle": sleeper(),
        "flaky": sh(f"test -e {cluster.dir}/bad && sleep 0.2 && exit 1; exec sleep 100000",
                    migration={"retention": "4s"}),
        "late": sh(f"test -e {cluster.dir}/bad && sleep 0.2 && exit 1; exec sleep 100000",
                   migration={"retention": "8s"}),
        "leaves": raw(cluster, "leaves", "--ballast", "200000",
                      migration={"downtime": "700ms", "timeout": "2s"}, start_timeout="1s"),
        "handled": raw(cluster, "handled", "--handled", migration={"retention": "20s"}),
        "keeps": raw(cluster, "keeps", migration={"retention": "1500ms"}),
        "deaf": raw(cluster, "deaf", "--ignore-term", words=["ignore_stop"],
                    stop_timeout="400ms"),
        "large": raw(cluster, "large", "--ballast", str(3 * MB), migration={"max_state": "1M"}),
        "big-raw": raw(cluster, "big-raw", "--ballast", str(64 * MB)),
        "big-c": counter("--ballast", str(64 * MB)),
        "big-py": py_counter("--ballast", str(16 * MB)),
        "pinned": counter(migration={"strategy": "none"}),
        "wants": sleeper(migration={"handover": True}),
        "versions": {
            "command": ["/bin/sh", "-c", "test $PROCHUB_ROLE = active && v=2 || v=1; "
                        f"exec {harness.PYTHON} -S -E {RAW} --version $v --faults "
                        f"{faults(cluster, 'versions').path}"],
            "ready": "protocol", "migration": harness.FAST},
        **{name: raw(cluster, name, migration={"downtime": "700ms", "timeout": "4s"},
                     start_timeout="1s") for name in WRONG},
    }


# what goes wrong, and the pattern of the outcome: the old worker goes on, nothing is left
WRONG = {
    "reject-format": "reject_format", "wrong-bytes": "wrong_bytes", "early-close": "early_close",
    "wrong-loaded": "wrong_loaded", "wrong-digest": "wrong_digest",
    "bad-line-start": "bad_line@start", "bad-line-freeze": "bad_line@freeze",
    "bad-line-load": "bad_line@load", "long-line": "long_line@data",
    "incompatible": "refuse_incompatible", "never-connects": "stall@connect",
    "never-loads": "stall@load", "no-state": "no_data",
}


def move(cluster, child):
    """Orders the move; (result of prochubctl, source, target, entry before)."""
    source, target = ends(cluster, child)
    before = source.child(child)
    return source.ctl("move", child, target.name), source, target, before


def assert_untouched(cluster, child, before):
    """The old worker goes on with the same pid and epoch; nothing of the new one is left."""
    assert cluster.wait_single(child) == before["pid"]
    entry = cluster.wait_everywhere(child, pid=before["pid"], node=before["node"])
    assert entry["restarts"] == before["restarts"]


@pytest.mark.parametrize("child", ["good", "no-rounds", "no-ask", "wrapped"])
def test_kinds_of_handover(pair, child):
    client = Client(pair, child)
    client.acks(20)
    for _ in range(2):
        result, source, target, before = move(pair, child)
        assert result.returncode == 0, result
        harness.wait(lambda: not harness.alive(before["pid"]), "the old one is gone")
        client.acks(10)
        words = faults(pair, child).words(before["meta"]["pid"])
        assert ("ask" in words) == (child != "no-ask")
        assert ("freeze" in words) == (child in ("good", "wrapped"))
        assert words.index("final") < words.index("committed") < words.index("stop")
        assert "resume" not in words
    entry = pair.wait_everywhere(child, node=target.name)
    assert (entry["meta"]["pid"] == entry["pid"]) == (child != "wrapped")
    client.finish()


def test_rounds_are_bounded(pair):
    client = Client(pair, "churns")
    client.acks(10)
    result, source, target, before = move(pair, "churns")
    assert result.returncode == 0, result
    words = faults(pair, "churns").words(before["pid"])
    assert words.count("start") == words.count("freeze") == words.count("final") == 1
    assert words.count("next_round") <= 4
    assert target.wait_migration("churns", "done")["bytes"] >= 5 * MB
    pair.wait_single("churns")
    client.finish()


def test_frozen_too_long_is_resumed(pair):
    client = Client(pair, "freezes-late")
    client.acks(10)
    source, target = ends(pair, "freezes-late")
    before = source.child("freezes-late")
    late = faults(pair, "freezes-late")
    late.set("stall@freeze")
    assert source.ctl("move", "freezes-late", target.name, "--no-wait").returncode == 0
    late.wait("freeze")
    harness.wait(lambda: len(pair.workers("freezes-late")) == 1, "the new one is dropped")
    late.clear()
    late.wait("resume", before["pid"])
    client.acks(20)
    # (it may be tried again with a longer budget, or not: this worker never stops for long)
    pair.wait_calm()
    client.finish()


@pytest.mark.parametrize("child", ["trickles", "trickles-frozen"])
def test_state_that_comes_too_slowly(pair, child):
    """There is always some progress; the whole of it has `timeout`, whether it serves or not."""
    client = Client(pair, child)
    client.acks(10)
    faults(pair, child).set("trickle")
    began = time.monotonic()
    result, source, target, before = move(pair, child)
    took = time.monotonic() - began
    faults(pair, child).clear()
    assert result.returncode == 1 and took >= 1.4, (took, result)
    text = "the downtime budget of 1500 ms was used up" if "frozen" in child else \
        "the copy took too long"
    assert text in result.stderr, result
    assert_untouched(pair, child, before)
    client.acks(20)
    harness.wait(lambda: source.ctl("move", child, target.name).returncode == 0,
                 "the next attempt", 20, pause=0.2)
    client.finish()


def test_worker_that_never_answers_freeze_is_restarted(pair):
    source, target = ends(pair, "hangs")
    before = source.child("hangs")
    hangs = faults(pair, "hangs")
    hangs.set("stall@freeze")
    assert source.ctl("move", "hangs", target.name, "--no-wait").returncode == 0
    hangs.wait("freeze", before["pid"])
    harness.wait(lambda: not harness.alive(before["pid"]), "the hung one is gone")
    hangs.clear()
    entry = pair.wait_everywhere("hangs", pid=lambda p: p != before["pid"])
    pair.wait_calm()
    assert entry and pair.wait_single("hangs")


def test_lookup_and_watch_of_workers(pair):
    node, _ = ends(pair, "watcher")
    source, target = ends(pair, "watched")
    watcher = faults(pair, "watcher")
    pid = node.child("watcher")["pid"]
    harness.wait(lambda: {f"found:{source.name}", f"changed:{source.name}"} &
                 set(watcher.words(pid)), lambda: f"an answer: {watcher.words(pid)}")
    assert "error:unknown_op" in watcher.words(pid)
    assert watcher.words(pid).count("error:unknown_op") == 1
    result, source, target, before = move(pair, "watched")
    assert result.returncode == 0, result
    watcher.wait(f"changed:{target.name}", pid)
    assert "lost" not in watcher.words(pid)


@pytest.mark.parametrize("child", WRONG)
def test_what_goes_wrong_leaves_the_old_worker(pair, child):
    faulty = faults(pair, child)
    client = Client(pair, child)
    client.acks(20)
    faulty.set(WRONG[child])
    result, source, target, before = move(pair, child)
    if "_line" in WRONG[child] and result.returncode == 0:
        # a worker may reconnect after the closed connection: then the migration may go on
        faulty.clear()
        client.finish()
        return
    assert result.returncode == 1, result
    assert result.stderr.strip()
    (ended,) = [m for m in source.migrations(child)] or [None]
    assert ended is None or ended["result"] == "aborted" and ended["reason"]
    assert_untouched(pair, child, before)
    client.acks(20)
    faulty.clear()
    harness.wait(lambda: source.ctl("move", child, target.name).returncode == 0,
                 "the next attempt", 20, pause=0.2)
    assert pair.wait_single(child) != before["pid"]
    client.finish()


def open_files(pid, numbers=True):
    """What the links of its descriptors say, and how often."""
    found = collections.Counter()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        found[link if numbers else re.sub("[0-9]+", "N", link)] += 1
    return found


def unix_sockets(pid):
    with open("/proc/net/unix") as f:
        inodes = {line.split()[6] for line in f.readlines()[1:]}
    return {link for link in open_files(pid) if link[8:-1] in inodes}


def left(node):
    """Descriptors of the daemon, and the names of all files of its directories."""
    files = {os.path.join(at, name) for top in (node.run_dir, node.state_dir)
             for at, _, names in os.walk(top) for name in names}
    return open_files(node.process.pid, numbers=False), files


def steady(cluster):
    """What is there on each node once nothing changes for a moment: not what a start has to do."""
    seen = [None]

    def same():
        seen.append([left(node) for node in cluster.live])
        return seen[-1] == seen[-4:-3][0] == seen[-2] if len(seen) > 4 else False
    harness.wait(same, "nothing changes", 15, pause=0.3)
    return seen[-1]


def news(before, cluster):
    """What is there beyond that, on each node."""
    return [(fds - old_fds, files - old_files)
            for (old_fds, old_files), (fds, files) in zip(before, map(left, cluster.live))
            if fds - old_fds or files - old_files]


@pytest.mark.parametrize("step", ["reject_format", "wrong_digest", "no_data", "stall@load",
                                  "die@loaded", "refuse_incompatible", "wrong_bytes"])
def test_nothing_is_left_of_what_was_aborted(pair, step):
    """On neither node; and the old worker has the connection to its daemon that it had."""
    child = "leaves"
    source, target = ends(pair, child)
    pair.wait_calm()
    before, old = steady(pair), source.child(child)
    sockets = unix_sockets(old["pid"])
    assert sockets
    faults(pair, child).set(step)
    for _ in range(3):
        result = source.ctl("move", child, target.name)
        assert result.returncode == 1, result
        assert_untouched(pair, child, old)
    faults(pair, child).clear()
    assert sockets <= unix_sockets(old["pid"])
    harness.wait(lambda: not any(news(before, pair)), lambda: f"nothing: {news(before, pair)}")


def test_incompatible_version_changes_nothing(pair):
    client = Client(pair, "versions")
    client.acks(10)
    result, source, target, before = move(pair, "versions")
    assert result.returncode == 1, result
    assert_untouched(pair, "versions", before)
    client.finish()


def test_state_larger_than_max_state(pair):
    client = Client(pair, "large")
    client.acks(10)
    result, source, target, before = move(pair, "large")
    assert result.returncode == 1, result
    assert "max_state" in result.stderr or "1M" in result.stderr or "large" in result.stderr
    assert_untouched(pair, "large", before)
    client.finish()


@pytest.mark.parametrize("child, size", [("big-raw", 64), ("big-c", 64), ("big-py", 16)])
def test_big_state(pair, child, size):
    client = Client(pair, child)
    client.acks(10)
    source, target = ends(pair, child)
    rss = {n.name: memory(n.process.pid) for n in (source, target)}
    result, *_ = move(pair, child)
    assert result.returncode == 0, result
    done = target.wait_migration(child, "done")
    assert done["bytes"] >= size * MB
    if child != "big-raw":  # the examples know their size, and people see how far it is
        assert done["total"] >= size * MB and f"M of {size}.0M  " in result.stdout
    client.acks(10)
    pair.wait_single(child)
    client.finish()
    assert not [e for n in pair.live for e in n.events("node_suspect", "node_dead")]
    for node in (source, target):
        assert memory(node.process.pid) - rss[node.name] < 48 * MB
    moved, *_ = move(pair, child)  # the ballast has arrived whole
    assert moved.returncode == 0, moved
    assert source.wait_migration(child, "done", after=[done["id"]])["bytes"] >= size * MB


def memory(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))


def test_plain_worker_overlaps(pair):
    for child in ("plain", "overlap"):
        result, source, target, before = move(pair, child)
        assert result.returncode == 0, result
        entry = pair.wait_everywhere(child, node=target.name)
        assert entry["pid"] != before["pid"]
        assert pair.wait_single(child) == entry["pid"]
    assert "committed" in faults(pair, "overlap").words(before["pid"])


@pytest.mark.parametrize("child", ["flaky", "late"])
def test_plain_worker_that_fails_over_there(pair, child):
    """ready: none: the old one is stopped only if the new one still runs after the retention."""
    ends(pair, child)
    with open(pair.dir + "/bad", "w"):
        pass
    result, source, target, before = move(pair, child)
    assert result.returncode == 1, result
    assert_untouched(pair, child, before)
    os.unlink(pair.dir + "/bad")


def test_move_of_what_does_not_run_is_answered(pair):
    source, target = ends(pair, "idle")
    assert source.ctl("stop", "idle").returncode == 0
    source.wait_child("idle", state="stopped")
    try:
        assert source.ctl("move", "idle", target.name, timeout=8).returncode in (0, 1)
    finally:
        assert source.ctl("start", "idle").returncode == 0
    pair.wait_everywhere("idle")
    pair.wait_single("idle")


def test_retention_lets_the_old_worker_live(pair):
    source, target = ends(pair, "keeps")
    old = source.child("keeps")["pid"]
    began = time.monotonic()
    result = source.ctl("move", "keeps", target.name, "--no-wait")
    assert result.returncode == 0, result
    target.wait_running("keeps", node=target.name)
    switched = time.monotonic()
    assert harness.alive(old) and len(pair.workers("keeps")) == 2
    for node in (source, target):
        harness.wait(lambda: [i["node"] for i in node.lookup("keeps")] == [target.name],
                     "the new one is found")
    faults(pair, "keeps").wait("stop", old)
    assert time.monotonic() - began > 1.4
    assert pair.wait_single("keeps") != old
    assert time.monotonic() - switched < 10


def test_retention_handled_ends_it_early(pair):
    began = time.monotonic()
    result, source, target, before = move(pair, "handled")
    assert result.returncode == 0, result
    assert pair.wait_single("handled") != before["pid"]
    assert time.monotonic() - began < 10


def test_old_worker_that_ignores_stop_and_term(pair):
    began = time.monotonic()
    result, source, target, before = move(pair, "deaf")
    assert result.returncode == 0, result
    assert pair.wait_single("deaf") != before["pid"]
    assert time.monotonic() - began < 15


def test_strategies_that_do_not_move(pair):
    client = Client(pair, "pinned")
    client.acks(5)
    for child in ("pinned", "wants"):
        result, source, target, before = move(pair, child)
        assert result.returncode == 1, result
        assert_untouched(pair, child, before)
    client.finish()


def test_to_where_it_is(pair):
    source, _ = ends(pair, "good")
    pid = source.child("good")["pid"]
    assert source.ctl("move", "good", source.name).returncode in (0, 1)
    assert source.child("good")["pid"] == pid


def test_same_answer_on_the_socket(pair):
    """The control socket says of a move what prochubctl shows."""
    source, target = ends(pair, "good")
    lines = []
    with source.control() as control:
        answer = control.call("move", child="good", node=target.name, on_more=lines.append)
    assert answer["ok"] and all(line["more"] for line in lines)
    with pytest.raises(harness.Refused) as refused:
        source.call("move", child="good", node="nowhere")
    assert refused.value.code == "not_found" and "nowhere" in refused.value.text


def test_signals_do_not_disturb(pair):
    source, target = ends(pair, "good")
    client = Client(pair, "good")
    faults(pair, "good").set("stall@data")
    assert source.ctl("move", "good", target.name, "--no-wait").returncode == 0
    faults(pair, "good").wait("data", source.child("good")["pid"])
    for node in (source, target):
        node.process.send_signal(signal.SIGHUP)
    faults(pair, "good").clear()
    target.wait_running("good", node=target.name)
    client.finish()


def test_one_slow_and_one_refusing_among_many(cluster):
    children = {"many": counter(instances=8), "slow": raw(cluster, "slow", "--ballast", "1000", migration={"timeout": "60s"}),
                "never": raw(cluster, "never")}
    a, b = cluster.start("a", "b", children=children, cluster={"migrations_max": 12})
    a.ctl("move", "many", "a"), a.ctl("move", "slow", "a"), a.ctl("move", "never", "a")
    cluster.wait_calm()
    clients = [Client(cluster, "many", i) for i in range(8)]
    clients += [Client(cluster, "slow"), Client(cluster, "never")]
    for client in clients:
        client.acks(10)
    faults(cluster, "slow").set("stall@load")
    faults(cluster, "never").set("refuse_never")
    pid = a.wait_running("never", node="a")["pid"]
    began = time.monotonic()
    a.ctl("drain", "a", "--no-wait")
    for i in range(8):
        b.wait_running("many", i, node="b", timeout=20)
    assert time.monotonic() - began < 20  # the slow one has three times as long
    assert b.child("slow")["node"] == "a"
    faults(cluster, "slow").clear()
    b.wait_running("slow", node="b")
    assert cluster.wait_single("never") == pid
    finish_all(clients)


def test_busy_then_never_under_a_drain(cluster):
    a, b = cluster.start("a", "b", children={"room": raw(cluster, "room"), "web": sleeper()})
    room = faults(cluster, "room")
    source, target = ends(cluster, "room")
    client = Client(cluster, "room")
    client.acks(10)
    room.set("refuse_busy")
    assert source.ctl("drain", "--no-wait").returncode == 0
    room.wait("ask", count=2)  # asked again after retry_after_ms
    room.clear()
    target.wait_running("room", node=target.name)
    cluster.wait_single("room")
    assert source.ctl("undrain").returncode == 0
    harness.wait(lambda: not any(n["draining"] for n in target.status()["nodes"]), "undrained")
    room.set("refuse_never")
    result = target.ctl("drain")
    assert result.returncode == 5, result
    assert "prochubctl: room: left where it is: " in result.stderr, result
    result = target.ctl("drain", "--json")
    answer = json.loads(result.stdout)
    assert result.returncode == 5 and not answer["ok"] and answer["code"] == "partly", result
    assert [(c["child"], c["instance"]) for c in answer["left"]] == [("room", 0)]
    client.acks(10)
    assert target.child("room")["node"] == target.name
    room.clear()
    client.finish()
