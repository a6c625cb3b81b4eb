"""`cancel`: a migration is aborted at each of its phases until it is committed, by anybody."""

import json
import subprocess

import harness
import pytest
from clients import Client
from raw import ends, faults, raw

NEVER = "0123456789abcdef0123456789abcdef"
PATIENT = {"downtime": "20s", "timeout": "60s"}

# where the handover is held, and the phase that is shown there
PHASES = {
    "ask": ("stall@ask", "plan"),
    "prepare": ("stall@connect", "prepare"),
    "copy": ("stall@load", "copy"),
    "copied": ("stall@load", "prepared"),
    "freeze": ("stall@freeze", "freeze"),
    "overlap": ("stall@connect", "prepare"),
}


def CHILDREN(cluster):
    children = {name: raw(cluster, name, migration=PATIENT, stop_timeout="20s",
                          start_timeout="60s") for name in PHASES}
    children["copied"] = raw(cluster, "copied", "--caps", "handover", migration=PATIENT,
                                  stop_timeout="20s", start_timeout="60s")
    children["overlap"] = raw(cluster, "overlap", "--caps", "", start_timeout="60s")
    for name in ("waits", "drained", "twice", "followed"):
        children[name] = raw(cluster, name, migration=PATIENT, start_timeout="60s")
    children["late"] = raw(cluster, "late", migration={"retention": "4s"})
    return children


def of(node, child, result="running"):
    """The one migration of the child with that result, as this node lists it; or None."""
    found = [m for m in node.migrations(child) if m["result"] == result]
    return found[0] if found else None


def start(cluster, child, word=None, phase=None):
    """Orders a move that gets stuck; (source, target, entry before, the migration)."""
    source, target = ends(cluster, child)
    before = source.child(child)
    faults(cluster, child).set(*([word] if word else []))
    assert source.ctl("move", child, target.name, "--no-wait").returncode == 0

    def there():
        m = of(source, child)
        return m if m and (phase is None or m["phase"] == phase) else None
    m = harness.wait(there, lambda: f"phase {phase}: {source.migrations(child)}")
    if word and word != "refuse_busy":
        faults(cluster, child).wait(word.partition("@")[2])
    return source, target, before, m


def assert_untouched(cluster, child, before):
    """The old worker goes on with its pid and epoch, and nothing of the new one is left."""
    pid = before["pid"]
    harness.wait(lambda: cluster.workers(child) == [pid],
                 lambda: f"only {pid} is left: {cluster.workers(child)}")
    entry = cluster.wait_everywhere(child, pid=pid, node=before["node"])
    assert entry["restarts"] == before["restarts"]


@pytest.mark.parametrize("child", PHASES)
@pytest.mark.parametrize("side", ["source", "target"])
def test_at_each_phase(pair, child, side):
    client = Client(pair, child)
    client.acks(20)
    source, target, before, m = start(pair, child, *PHASES[child])
    node = source if side == "source" else target
    harness.wait(lambda: of(node, child), "it is known there")
    ordered = node.ctl("cancel", m["id"][:12], "--no-wait")
    assert ordered.returncode == 0, ordered
    faults(pair, child).clear()
    # the second order only waits for the end that the first one has brought about
    result = node.ctl("cancel", m["id"])
    assert result.returncode == 0, result
    assert f"{source.name} -> {target.name}: aborted: cancelled by an operator" in result.stdout
    assert_untouched(pair, child, before)
    client.acks(20)
    assert not client.lost and not client.twice
    for at in (source, target):
        ended = at.wait_migration(child, "aborted", after={x["id"] for x in at.migrations(child)
                                                           if x["id"] != m["id"]})
        assert ended["reason"] == "cancelled by an operator", ended
    (told,) = [e for e in source.events("migration_aborted") if e.get("migration") == m["id"]]
    assert told["text"] == "cancelled by an operator", told
    # nothing starts it again, but another order does
    assert of(source, child) is None
    assert source.ctl("wait", child, "--for=moved", "--timeout", "10s").returncode == 0
    assert source.ctl("move", child, target.name).returncode == 0
    assert pair.wait_single(child) != before["pid"]
    client.finish(lost_allowed=child == "overlap")  # which hands over nothing


def test_while_it_waits_for_a_busy_worker(pair):
    client = Client(pair, "waits")
    source, target = ends(pair, "waits")
    before = source.child("waits")
    faults(pair, "waits").set("refuse_busy")
    mover = follow(source, "move", "waits", target.name)
    m = harness.wait(lambda: of(source, "waits"), "it is asked")
    harness.wait(lambda: of(source, "waits") and of(source, "waits")["id"] != m["id"],
                 "it is asked again, under another id")
    first, waiting = m["id"], of(source, "waits")
    result = target.ctl("cancel", first, "--json")  # the first id stands for the next try
    assert result.returncode == 0, result
    answer = json.loads(result.stdout)
    assert answer["result"] == "aborted" and answer["child"] == "waits", answer
    assert answer["id"] != first or waiting["id"] == first
    assert finished(mover, 1).strip().endswith("cancelled by an operator")
    faults(pair, "waits").clear()
    assert of(source, "waits") is None
    assert_untouched(pair, "waits", before)
    client.finish()


def follow(node, *words):
    return subprocess.Popen([harness.CTL, "--socket", node.control_path, *words],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process, code, timeout=30):
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == code, (process.returncode, out, err)
    return out + err


def test_after_the_commit_it_is_refused(pair):
    client = Client(pair, "late")
    client.acks(10)
    source, target, before, m = start(pair, "late")
    harness.wait(lambda: of(source, "late") and of(source, "late")["phase"] == "retention",
                 lambda: f"retention: {source.migrations('late')}")
    for node in (source, target):
        result = node.ctl("cancel", m["id"])
        assert result.returncode == 1, result
        assert "late/0: it is committed: the new worker has taken over" in result.stderr
    with pytest.raises(harness.Refused) as refused:
        target.call("cancel", migration=m["id"])
    assert refused.value.code == "refused" and refused.value.answer["id"] == m["id"]
    done = source.wait_migration("late", "done")
    assert done["id"] == m["id"]
    result = target.ctl("cancel", m["id"])
    assert result.returncode == 1 and "it has ended already: done" in result.stderr, result
    pair.wait_everywhere("late", node=target.name)
    client.finish()


def test_twice_at_once(pair):
    client = Client(pair, "twice")
    client.acks(10)
    source, target, before, m = start(pair, "twice", "stall@load", "copy")
    mover = follow(source, "wait", "twice", "--for=moved")
    orders = [follow(node, "cancel", m["id"]) for node in (source, target) * 2]
    for order in orders:
        assert "aborted: cancelled by an operator" in finished(order, 0)
    finished(mover, 0)
    faults(pair, "twice").clear()
    assert len([e for e in source.events("migration_aborted") if e.get("migration") == m["id"]]) == 1
    assert_untouched(pair, "twice", before)
    client.finish()


def test_who_follows(pair):
    """The move ends with the reason, and the list of migrations tells it too."""
    source, target = ends(pair, "followed")
    before = source.child("followed")
    faults(pair, "followed").set("stall@freeze")
    mover = follow(target, "move", "followed", target.name)
    m = harness.wait(lambda: of(source, "followed") and of(source, "followed")["phase"] ==
                     "freeze" and of(source, "followed"), "it is frozen")
    result = source.ctl("cancel", m["id"], "--json", "--timeout", "20s")
    assert result.returncode == 0 and json.loads(result.stdout)["result"] == "aborted", result
    faults(pair, "followed").clear()
    assert "cancelled by an operator" in finished(mover, 1)
    shown = target.call("migrations", id=m["id"])["migrations"]
    assert [x["result"] for x in shown] == ["aborted"]
    assert_untouched(pair, "followed", before)


def test_of_a_drain(cluster):
    children = {name: raw(cluster, name, migration=PATIENT, start_timeout="60s")
                for name in ("held", "free")}
    (a,) = cluster.start("a", children=children)
    for name in children:
        a.wait_running(name)
    b = cluster.node("b", children).start()
    cluster.wait_members()
    cluster.wait_quiet()
    for name in children:  # both on a
        assert a.ctl("move", name, "a").returncode == 0
    before = cluster.wait_everywhere("held", node="a")
    faults(cluster, "held").set("stall@load")
    drain = follow(b, "drain", "a")
    m = harness.wait(lambda: of(b, "held") and of(b, "held")["phase"] == "copy" and
                     of(b, "held"), lambda: f"copy: {b.migrations()}\n{a.log()}")
    cluster.wait_everywhere("free", node="b")
    assert b.ctl("cancel", m["id"]).returncode == 0
    faults(cluster, "held").clear()
    told = finished(drain, 5)
    assert "held: left where it is: cancelled by an operator" in told, told
    assert "1 moved, 1 left" in told, told
    assert_untouched(cluster, "held", before)
    # it is not planned again by itself: only by the next drain that is ordered
    assert of(a, "held") is None
    result = b.ctl("drain", "a")
    assert result.returncode == 0, result
    cluster.wait_everywhere("held", node="b")


@pytest.mark.parametrize("words, code, message", [
    ([NEVER], 4, "no such migration is known"),
    ([NEVER[:4]], 4, "no such migration is known"),
    (["abc"], 2, "'abc' is not the id of a migration: expected 4 to 32 digits of 0-9 a-f"),
    (["ABCD"], 2, "'ABCD' is not the id of a migration: expected 4 to 32 digits of 0-9 a-f"),
    ([NEVER + "0"], 2, f"'{NEVER}0' is not the id of a migration: expected 4 to 32 digits of "
     "0-9 a-f"),
    ([], 2, "'cancel' needs MIGRATION; see 'prochubctl cancel --help'"),
    ([NEVER, NEVER], 2, f"'cancel': one word too many: '{NEVER}'"),
    (["--force", NEVER], 2, "--force does not go with 'cancel'; see 'prochubctl cancel --help'"),
])
def test_wrong_words(pair, words, code, message):
    node = pair.nodes["a"]
    result = node.ctl("cancel", *words)
    assert (result.returncode, result.stdout) == (code, "") and message in result.stderr, result
    assert not of(node, None)


@pytest.mark.parametrize("fields, message", [
    ({}, "migration: missing"),
    ({"migration": 7}, "migration: expected 4 to 32"),
    ({"migration": "abc"}, "migration: expected 4 to 32"),
    ({"migration": "abcg"}, "migration: expected 4 to 32"),
    ({"migration": NEVER, "no_wait": "yes"}, "no_wait: expected true or false"),
])
def test_wrong_fields(pair, fields, message):
    with pytest.raises(harness.Refused) as refused:
        pair.nodes["b"].call("cancel", **fields)
    assert refused.value.code == "bad_request" and message in refused.value.text
