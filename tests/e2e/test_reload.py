"""What a reload touches, and what it leaves alone; one file for the whole cluster."""

import json
import os
import time

import harness
from raw import sh, sleeper


def write(node, **children):
    node.config["children"] = {k: v for k, v in children.items() if v}
    node.write()


def pids(node, child, n):
    return [node.wait_running(child, i)["pid"] for i in range(n)]


def test_instances_start_and_stop_the_difference_only(solo):
    node = solo({"room": sleeper(instances=3), "other": sleeper()})
    before, other = pids(node, "room", 3), node.wait_running("other")["pid"]
    write(node, room=sleeper(instances=5), other=sleeper())
    assert node.ctl("reload", "--dry-run").stdout == "would change: room (instances)\n"
    assert node.ctl("reload").stdout == "changed: room (instances)\n"
    more = pids(node, "room", 5)
    assert more[:3] == before
    write(node, room=sleeper(instances=2), other=sleeper())
    node.ctl("reload")
    harness.wait(lambda: node.child("room", 2) is None, "three are gone")
    harness.wait(lambda: not any(map(harness.alive, more[2:])), "with their processes")
    assert pids(node, "room", 2) == before[:2] and node.child("other")["pid"] == other
    assert [c["instance"] for c in node.status()["children"] if c["child"] == "room"] == [0, 1]


def test_live_options_touch_no_worker(solo):
    live = sleeper(stop_timeout="7s", restart={"policy": "transient"}, start_timeout="9s")
    node = solo({"web": sleeper()})
    pid = node.wait_running("web")["pid"]
    write(node, web=live)
    done = node.ctl("reload", "--dry-run")
    assert done.stdout == "would change: web (start_timeout, stop_timeout, restart.policy)\n", done
    assert node.call("show", child="web")["spec"]["stop_timeout"] == "1s"
    node.ctl("reload")
    harness.wait(lambda: node.call("show", child="web")["spec"]["stop_timeout"] == "7s", "it counts")
    assert node.wait_running("web")["pid"] == pid
    write(node, web={**live, "env": {"A": "1"}})
    assert node.ctl("reload", "--dry-run").stdout == \
        "would change: web (env; its workers are replaced)\n"
    answer = node.call("reload")
    assert answer["changed"][0]["restart"] is True and answer["differs"] == []
    node.wait_running("web", pid=lambda p: p != pid)
    assert node.events("child_changed")[-1]["child"] == "web"


def test_options_of_log_files_touch_no_worker(solo, cluster):
    """Size, number and path of log files are in force at once, for added children likewise."""
    text = sh("i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done")
    log = {"to": "file", "path": f"{cluster.dir}/%c-%i.log", "size": "100", "keep": 4}
    node = solo({"web": {**text, "instances": 2, "log": log}})
    before = pids(node, "web", 2)
    old = [f"{cluster.dir}/web-{i}.log" for i in (0, 1)]
    harness.wait(lambda: all(os.path.exists(path + ".4") for path in old), "files are begun anew")
    write(node, web={**text, "instances": 2, "log": {**log, "size": "1K", "keep": 2}})
    assert node.ctl("reload").stdout == "changed: web (log.size, log.keep)\n"
    harness.wait(lambda: not any(os.path.exists(path + ".3") for path in old), "two are kept")
    harness.wait(lambda: all(os.path.getsize(path) > 500 for path in old), "they are larger")
    write(node, web={**text, "instances": 2, "log": {**log, "path": f"{cluster.dir}/%c-%i.new"}})
    assert "log.path" in node.ctl("reload").stdout
    new = [f"{cluster.dir}/web-{i}.new" for i in (0, 1)]
    harness.wait(lambda: all(os.path.exists(path + ".1") for path in new), "another file")
    sizes = [os.path.getsize(path) for path in old]
    assert "line" in node.ctl("logs", "-n", "3", "web/1").stdout
    node.kill()  # the next daemon goes on so
    node.start()
    harness.wait(lambda: os.path.getsize(new[0]) < 101, "it is still so")
    assert [os.path.getsize(path) for path in old] == sizes
    assert pids(node, "web", 2) == before


# One option after the other, each added to those before it, and whether it takes a new process.
STEPS = [
    ({"command": ["/bin/sleep", "1000001"]}, True), ({"dir": "/"}, True), ({"env": {"A": "1"}}, True),
    ({"env_file": "{dir}/vars"}, True), ({"user": "nobody"}, True), ({"group": "nogroup"}, True),
    ({"umask": "027"}, True), ({"no_new_privileges": True}, True),
    ({"listen": {"x": "unix:{dir}/x.sock"}}, True), ({"ready": "exec:/bin/true"}, True),
    ({"start_timeout": "9s"}, False), ({"stop_signal": "INT"}, False),
    ({"stop_timeout": "3s"}, False), ({"watchdog": "1h"}, True), ({"after": ["other"]}, False),
    ({"restart": {"policy": "transient"}}, False), ({"restart": {"delay": "1ms"}}, False),
    ({"restart": {"backoff": "60ms"}}, False), ({"restart": {"backoff_max": "1h"}}, False),
    ({"restart": {"jitter": "0%"}}, False), ({"restart": {"intensity": 9}}, False),
    ({"restart": {"within": "2m"}}, False), ({"restart": {"on_limit": "fail"}}, False),
    ({"restart": {"retry_after": "1m"}}, False), ({"health": {"exec": "/bin/true"}}, False),
    ({"health": {"interval": "1s"}}, False), ({"health": {"timeout": "2s"}}, False),
    ({"health": {"failures": 2}}, False), ({"limits": {"nofile": 100}}, True),
    ({"limits": {"core": 0}}, True), ({"limits": {"missing": "warn"}}, True),
    ({"limits": {"memory": "64M"}}, True), ({"limits": {"cpu": "50%"}}, True),
    ({"limits": {"tasks": 9}}, True), ({"log": {"size": "1M"}}, False), ({"log": {"to": "null"}}, True),
    ({"placement": {"nodes": ["a"]}}, False), ({"migration": {"strategy": "none"}}, False),
    ({"migration": {"retention": "1s"}}, False), ({"migration": {"max_state": "1M"}}, False),
    ({"placement": {"strategy": "local"}}, True),
]


def test_each_option_by_itself(solo, cluster):
    """What is told is what is done, for that child alone."""
    with open(cluster.dir + "/vars", "w") as f:
        f.write("B=2\n")
    now = sleeper()
    node = solo({"web": now, "other": sleeper()})
    pid, other = node.wait_running("web")["pid"], node.wait_running("other")["pid"]
    for step, renews in json.loads(json.dumps(STEPS).replace("{dir}", cluster.dir)):
        for option, value in step.items():
            both = isinstance(value, dict) and isinstance(now.get(option), dict)
            now = {**now, option: {**now[option], **value} if both else value}
        write(node, web=now, other=sleeper())
        told = [node.call("reload", dry_run=dry)["changed"] for dry in (True, False)]
        assert told[0] == told[1] and len(told[0]) == 1, told
        assert (told[0][0]["child"], told[0][0]["restart"]) == ("web", renews), told
        if renews:
            pid = node.wait_running("web", pid=lambda p, old=pid: p not in (None, old))["pid"]
            harness.wait(lambda p=pid: cluster.workers("web") == [p], "the old one has gone")
        for path in told[0][0]["options"]:
            have = node.call("show", child="web")["spec"]
            for word in path.split("."):
                have = have[word]
        assert node.wait_running("web")["pid"] == pid, step
    assert node.child("other")["pid"] == other and node.child("other")["restarts"] == 0


def test_a_bad_file_changes_nothing(solo):
    node = solo({"web": sleeper()})
    pid = node.wait_running("web")["pid"]
    node.write(json.dumps({**node.config, "children": {"new": sleeper(), "web": {"comand": []}}}))
    for words in (("reload", "--dry-run"), ("reload",), ("reload", "--cluster")):
        done = node.ctl(*words)
        assert done.returncode == 1 and "did you mean 'command'?" in done.stderr, done
    assert node.wait_running("web")["pid"] == pid and node.child("new") is None
    assert len(node.events("config_rejected")) == 2 and not node.events("config_reloaded")
    assert node.ctl("reload", "cluster").returncode == 2


def test_a_file_that_was_cut_to_nothing(solo):
    node = solo({"web": sleeper()})
    pid = node.wait_running("web")["pid"]
    for text in ("", "\n", "# children:\n", "---\n"):
        node.write(text)
        for words in (("reload", "--dry-run"), ("reload",)):
            done = node.ctl(*words)
            assert done.returncode == 1 and "expected 'children: {}'" in done.stderr, (text, done)
        assert node.wait_running("web")["pid"] == pid, text
    node.write("children: {}\n")
    assert node.ctl("reload").returncode == 0
    harness.wait(lambda: node.child("web") is None, "the child to be gone")


def test_one_file_for_all(cluster):
    """The owner's text counts, unless an operator lets another node's count everywhere."""
    here = {"placement": {"nodes": ["a"]}}
    old, new = sh("exec sleep 1001", **here), sh("exec sleep 1002", **here)
    a, b = cluster.start("a", "b", children={"web": old, "same": sleeper()})
    pid = cluster.wait_everywhere("web", node="a")["pid"]
    same = cluster.wait_everywhere("same")["pid"]
    b.config["children"]["web"] = new
    b.write()
    differs = "differs from what the cluster runs: web\n"
    assert b.ctl("reload", "--dry-run").stdout == \
        "would change: web (command; its workers are replaced)\n" + differs
    assert b.call("reload")["differs"] == ["web"]
    b.wait_child("web", differs=True)
    time.sleep(1)
    assert a.wait_running("web")["pid"] == pid and b.ctl("reload").stdout == differs
    assert b.ctl("reload", "--dry-run", "--cluster").stdout == "would be so on all nodes: web\n"
    assert b.wait_child("web")["differs"]
    done = b.ctl("reload", "--cluster")
    assert (done.returncode, done.stdout) == (0, "now so on all nodes: web\n"), done
    a.wait_running("web", pid=lambda p: p != pid, differs=True)
    b.wait_running("web", pid=lambda p: p != pid, differs=False)
    for node in (a, b):
        assert "1002" in str(node.call("show", child="web")["spec"]["command"])
    assert b.ctl("reload", "--cluster").stdout == "nothing changed\n"
    assert a.wait_running("same")["pid"] == same
    assert a.call("reload")["changed"] == []  # its own file has not changed: it stays so
    time.sleep(1)
    assert "1002" in str(a.call("show", child="web")["spec"]["command"])
