"""The order of start and stop: `after` on one node and over nodes, what is refused."""

import os
import signal

import harness
from raw import sh, sleeper

MARKS = """
echo {name} up >>{log}
trap 'rm -f {flag}; echo {name} down >>{log}; kill $!; exit 0' TERM
(sleep {slow}; [ -e {flag}.never ] || touch {flag}) &
sleep 1000000 & wait
"""


def marked(cluster, name, slow="0", **options):
    """Says in a file when it starts and when it ends, and is ready by what it touches."""
    flag = f"{cluster.dir}/{name}.ready"
    script = MARKS.format(name=name, log=f"{cluster.dir}/log", flag=flag, slow=slow)
    return sh(script, **{"ready": f"exec:/usr/bin/test -e {flag}", **options})


def crash(cluster, name, pid):
    """kill -9, and what it was ready by goes with it."""
    os.kill(pid, signal.SIGSTOP)
    if os.path.exists(f"{cluster.dir}/{name}.ready"):
        os.unlink(f"{cluster.dir}/{name}.ready")
    os.kill(pid, signal.SIGKILL)


def lines(cluster):
    try:
        with open(f"{cluster.dir}/log") as f:
            return f.read().splitlines()
    except OSError:
        return []


def test_started_in_order_and_stopped_the_other_way_round(solo, cluster):
    node = solo({"web": marked(cluster, "web", after=["api"]),
                 "api": marked(cluster, "api", slow="0.3", after=["db"]),
                 "db": marked(cluster, "db", slow="0.5")})
    waiting = node.wait_child("web", state="waiting", node="a", reason=lambda r: r)
    assert waiting["reason"].startswith("waits for api, which is "), waiting
    assert waiting["pid"] is None
    shown = node.ctl("show", "web").stdout
    assert "waiting" in shown and "waits for api, which is " in shown, shown
    node.wait_running("web", reason=None)
    assert lines(cluster) == ["db up", "api up", "web up"]
    node.stop()
    assert lines(cluster)[3:] == ["web down", "api down", "db down"]


def test_restart_of_what_is_needed_stops_nobody(solo, cluster):
    node = solo({"web": sleeper(after=["db"]), "db": sleeper()})
    web, db = node.wait_running("web")["pid"], node.wait_running("db")["pid"]
    os.kill(db, signal.SIGKILL)
    node.wait_running("db", pid=lambda p: p not in (None, db))
    assert node.ctl("restart", "db").returncode == 0
    assert node.child("web")["pid"] == web and node.child("web")["restarts"] == 0


def test_stopped_by_an_operator(solo):
    node = solo({"web": sleeper(after=["db"]), "db": sleeper()})
    web = node.wait_running("web")["pid"]
    node.call("stop", child="db")
    node.wait_child("db", state="stopped")
    assert node.child("web")["pid"] == web  # it runs on, ...
    os.kill(web, signal.SIGKILL)
    entry = node.wait_child("web", state="waiting")  # ... and does not start without it
    assert entry["reason"] == "waits for db, which is stopped by an operator"
    assert "waits for db, which is stopped by an operator" in node.ctl("status").stdout
    started = node.ctl("start", "web")
    assert started.returncode == 1
    assert "it waits for db, which is stopped by an operator" in started.stderr + started.stdout
    assert node.ctl("start", "web", "db").returncode == 0
    node.wait_running("web")


def test_all_instances_and_a_job(solo, cluster):
    node = solo({"web": sleeper(after=["room", "job"]),
                 "job": sh("exit 0", ready="none", restart={"policy": "temporary"}),
                 "room": marked(cluster, "room", instances=3,
                                ready=f"exec:/usr/bin/test -e {cluster.dir}/%i")})
    for i in range(3):
        entry = node.wait_child("web", state="waiting", reason=f"waits for room/{i}, which is starting")
        assert entry["pid"] is None
        open(f"{cluster.dir}/{i}", "w").close()
        node.wait_running("room", i)
    node.wait_running("web")
    assert node.child("job")["exit"] == {"code": 0}


def test_over_nodes(cluster):
    children = {"web": sleeper(after=["db"], placement={"nodes": ["a"]}),
                "db": marked(cluster, "db", placement={"nodes": ["b"]})}
    open(f"{cluster.dir}/db.ready.never", "w").close()
    a, b = cluster.start("a", "b", children=children)
    for node in (a, b):
        node.wait_child("web", state="waiting", node="a", reason="waits for db, which is starting")
    os.unlink(f"{cluster.dir}/db.ready.never")
    open(f"{cluster.dir}/db.ready", "w").close()
    web = cluster.wait_everywhere("web", node="a")
    b.kill_node()
    a.wait_event("node_dead", timeout=15)
    assert a.child("web")["pid"] == web["pid"]
    os.kill(web["pid"], signal.SIGKILL)
    a.wait_child("web", state="waiting", reason=lambda r: r and r.startswith("waits for db"))
    b.start()
    open(f"{cluster.dir}/db.ready", "w").close()
    a.wait_running("web", timeout=20)


def test_kill_of_the_daemon(solo, cluster):
    """The next daemon adopts what runs, and what waited waits on."""
    node = solo({"db": marked(cluster, "db", slow="1000"), "web": sleeper(after=["db"]),
                 "log": sleeper()})
    node.wait_child("web", state="waiting")
    log = node.wait_running("log")["pid"]
    node.kill()
    node.start()
    assert node.wait_running("log")["pid"] == log
    node.wait_child("web", state="waiting")
    open(f"{cluster.dir}/db.ready", "w").close()
    node.wait_running("web")


def test_a_second_signal_ends_the_order(solo, cluster):
    node = solo({"db": sleeper(), "web": sh(
        f"trap '' TERM; touch {cluster.dir}/deaf; while :; do sleep 1; done",
        after=["db"], stop_timeout="20s")})
    db = node.wait_running("db")["pid"]
    harness.wait(lambda: os.path.exists(f"{cluster.dir}/deaf"), "it is deaf")
    node.process.send_signal(signal.SIGTERM)
    node.wait_child("web", state="stopping")
    assert harness.alive(db)
    node.process.send_signal(signal.SIGTERM)
    harness.wait(lambda: not harness.alive(db), "db is stopped at once")
    for pid in cluster.workers("web"):
        harness.kill(pid)
    node.stop(asked=True)


def test_reload_brings_it(solo):
    node = solo({"web": sleeper(), "db": sleeper()})
    web = node.wait_running("web")["pid"]
    node.config["children"]["web"]["after"] = ["db"]
    node.write()
    changed = node.call("reload")
    assert [(c["child"], c["options"], c["restart"]) for c in changed["changed"]] == [
        ("web", ["after"], False)], changed
    assert node.child("web")["pid"] == web  # no restart
    node.call("stop", child="db")
    os.kill(web, signal.SIGKILL)
    node.wait_child("web", state="waiting")
    node.config["children"]["web"]["after"] = []
    node.write()
    node.call("reload")
    node.wait_running("web")


def test_refused(cluster):
    node = cluster.node("a", alone=True)
    bad = {
        "children: {a: {command: [x], after: [b]}, b: {command: [x], after: [a]}}":
            ":1:30: children.a.after: each waits for the next one, and none could start: "
            "a -> b -> a",
        "children: {web: {command: [x], after: [bd]}, db: {command: [x]}}":
            ":1:32: children.web.after: 'bd' is not a child of this configuration, did you mean "
            "'db'?",
    }
    for text, sentence in bad.items():
        node.write(text)
        for tool in ([harness.PROCHUBD, "-t", "-c", node.file], [harness.CTL, "check", node.file]):
            done = harness.subprocess.run(tool, capture_output=True, text=True, timeout=20)
            assert done.returncode in (1, 2) and sentence in done.stderr, (tool, done)
