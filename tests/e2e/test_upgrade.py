"""SIGUSR2: the daemon executes what now stands at its path, in the same process.

No worker is restarted, nobody who connects is refused, and an exit that comes in between is told
with its status, as the workers are children of that process still.
"""

import collections
import json
import os
import select
import shutil
import signal
import subprocess
import threading
import time

import harness
from clients import Client
from raw import counter, raw, sleeper
from test_environment import Manager
from test_listen import Asking, free_port, server
from test_daemon_deaths import SLOW, Held


def upgrade(node, times=1):
    """Sends it, and waits until the next one has begun."""
    begun = node.whole_log().count("signal USR2: executing")
    for i in range(times):
        node.process.send_signal(signal.SIGUSR2)
        harness.wait(lambda: node.whole_log().count("signal USR2: executing") > begun + i,
                     lambda: f"{node.name} executes:\n{node.log()}")
        node.wait_up()
        harness.wait(lambda: node.status()["nodes"][0]["state"] == "alive", "ready again")


def install(cluster):
    """A copy of the programs, as an upgrade would replace them; the path of the daemon."""
    folder = cluster.dir + "/bin"
    os.mkdir(folder)
    for name in ("prochubd", "prochub-bus", "prochub-fence"):
        shutil.copy2(os.path.join(harness.BUILD, name), folder)
    return folder + "/prochubd"


def replace(path, program=None, text=None):
    """By rename, as package managers do: the old file lives on without a name."""
    if program:
        shutil.copy2(program, path + ".new")
    else:
        with open(path + ".new", "w") as f:
            f.write(text)
        os.chmod(path + ".new", 0o755)
    os.rename(path + ".new", path)


def descriptors(pid):
    """What each is, but for its number."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{name}").partition(":[")[0])
        except OSError:
            pass
    return collections.Counter(found)


def zombies_of(pid):
    found = []
    for other in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{other}/stat") as f:
                head, _, rest = f.read().rpartition(")")
            if rest.split()[1] == str(pid) and rest.split()[0] == "Z":
                found.append(head)
        except OSError:
            pass
    return found


def test_under_load(solo, cluster):
    """50 workers, connections, updates and output that go on; five upgrades; nothing is lost."""
    ports = free_port(), free_port()
    log = cluster.dir + "/talk.log"
    talk = ["/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done"]
    node = solo({
        "room": sleeper(instances=46), "count": counter(),
        "web": server({"a": f"tcp://127.0.0.1:{ports[0]}", "b": f"tcp://127.0.0.1:{ports[1]}"}),
        "unix": server({"u": f"unix:{cluster.dir}/u%%s.sock"}),
        "talk": {"command": talk, "log": {"to": "file", "path": log}}})
    names = [("room", i) for i in range(46)] + [(n, 0) for n in ("count", "web", "unix", "talk")]
    pids = {n: node.wait_running(*n)["pid"] for n in names}
    asking = [Asking(ports[0]), Asking(ports[1]), Asking(cluster.dir + "/u%s.sock")]
    client = Client(cluster, "count")
    client.acks(20)
    upgrade(node)
    client.acks(20)  # and connected again: its worker's is among them
    before = descriptors(node.process.pid) + collections.Counter({"socket": 2})
    upgrade(node, 4)
    harness.wait(lambda: not descriptors(node.process.pid) - before,
                 lambda: f"none is left over: {descriptors(node.process.pid) - before}")
    client.acks(20)
    client.finish(dead_allowed=True)
    for one in asking:
        assert len(one.finish()) > 10
    assert node.running
    for name in names:
        entry = node.wait_running(*name)
        assert entry["pid"] == pids[name] and entry["restarts"] == 0, entry
    assert not zombies_of(node.process.pid)
    os.kill(pids["talk", 0], signal.SIGKILL)
    node.wait_running("talk", pid=lambda p: p != pids["talk", 0])

    def words():
        with open(log) as f:
            return f.read().split()
    lines = harness.wait(lambda: "1" in words()[1:] and words(), "the new one's first line is there")
    again = lines.index("1", 1)
    assert lines[:again] == [str(i + 1) for i in range(again)]


def test_exits_in_between_are_known(solo, cluster):
    """Each ends while the daemon stands still on its way; all have their true status."""
    traps = f": >{cluster.dir}/set-$PROCHUB_CHILD; "
    node = solo({"code": {"command": ["/bin/sh", "-c", "trap 'echo bye; exit 7' TERM; " + traps +
                                      "while :; do sleep 0.01; done"],
                          "log": {"to": "file", "path": cluster.dir + "/code.log"}},
                 "sig": sleeper(),
                 "done": {"command": ["/bin/sh", "-c", "trap 'exit 0' TERM; " + traps +
                                      "while :; do sleep 0.01; done"],
                          "restart": {"policy": "transient"}},
                 "group": {"command": ["/bin/sh", "-c", "sleep 1000 & trap 'exit 3' TERM; " + traps +
                                       "while :; do sleep 0.01; done"]}})
    pids = {name: node.wait_running(name)["pid"] for name in ("code", "sig", "done", "group")}
    harness.wait(lambda: all(os.path.exists(f"{cluster.dir}/set-{name}")
                             for name in ("code", "done", "group")), "the traps are set")
    os.kill(node.process.pid, signal.SIGSTOP)
    node.process.send_signal(signal.SIGUSR2)
    os.kill(node.process.pid, signal.SIGCONT)
    harness.wait(lambda: "signal USR2: executing" in node.whole_log(), "it executes", pause=0.0005)
    for name, sig in (("code", 15), ("sig", 9), ("done", 15), ("group", 15)):
        os.kill(pids[name], sig)
    node.wait_up()
    expected = {"code": {"code": 7}, "sig": {"signal": 9, "core": False}, "done": {"code": 0},
                "group": {"code": 3}}
    for name, status in expected.items():
        assert node.wait_event("child_exited", child=name)["exit"] == status, name
    for name in ("code", "sig", "group"):
        assert node.wait_running(name, pid=lambda p, n=name: p != pids[n])["restarts"] == 1
    node.wait_child("done", state="stopped")
    left = harness.processes_of("PROCHUB_CHILD=group")
    assert len(left) <= 3, left
    with open(cluster.dir + "/code.log") as f:
        assert "bye" in f.read()
    harness.wait(lambda: not zombies_of(node.process.pid), "all are reaped")


def test_what_is_not_ready_stays_so(solo):
    """No READY=1 can be lost on the way, so one that never came is as in any other start."""
    node = solo({"never": sleeper(ready="notify", start_timeout="6s",
                                  restart={"policy": "temporary"})})
    node.wait_child("never", state="starting")
    upgrade(node, 2)
    assert node.child("never")["state"] == "starting"
    node.wait_child("never", state="stopped")
    assert "start_timeout" in node.child("never")["reason"]
    assert not node.events("child_ready")


def test_a_new_program_takes_over(cluster):
    path = install(cluster)
    node = cluster.node("a", {"web": sleeper(), "read": counter()}, alone=True)
    manager = Manager(cluster.dir + "/manager")
    node.program, node.env = path, {"NOTIFY_SOCKET": cluster.dir + "/manager"}
    node.start()
    manager.wait("READY=1")
    pid = node.wait_running("web")["pid"]
    node.wait_running("read")
    inode = os.stat(f"/proc/{node.process.pid}/exe").st_ino
    replace(path, os.path.join(harness.BUILD, "prochubd"))
    node.config["children"]["more"] = sleeper()
    node.write()
    upgrade(node)
    assert os.stat(f"/proc/{node.process.pid}/exe").st_ino == os.stat(path).st_ino != inode
    assert any(line.startswith("MONOTONIC_USEC=") for line in manager.wait("RELOADING=1"))
    assert f"MAINPID={node.process.pid}" in manager.wait("READY=1")
    assert node.wait_running("web")["pid"] == pid
    node.wait_running("more")
    assert not [e for e in node.events("upgrade_refused")]


def test_a_file_that_was_cut_to_nothing_takes_nothing_over(cluster):
    blank = f"{cluster.dir}/blank.yaml"
    open(blank, "w").close()
    for children, status in (("3", 2), ("0", 0)):
        env = {**os.environ, "HOSTNAME": "a",
               "PROCHUB_UPGRADE": f"a\n/run/prochub\n/var/lib/prochub\n{children}"}
        done = subprocess.run([harness.PROCHUBD, "-t", "-c", blank], env=env, text=True,
                              capture_output=True, timeout=20, check=False)
        assert done.returncode == status and ("can take over" in done.stdout) == (status == 0), done
        assert ("expected 'children: {}'" in done.stderr) == (status == 2), done


def test_what_cannot_take_over_is_refused(cluster):
    path = install(cluster)
    node = cluster.node("a", {"web": sleeper()}, alone=True)
    node.program = path
    node.start()
    pid = node.wait_running("web")["pid"]
    good = node.config
    harness_path = os.path.join(harness.BUILD, "prochubd")
    cases = [
        (dict(text="no program"), good, "neither a program nor a script"),
        (dict(text="#!/bin/sh\nexit 0\n"), good, "another program"),
        (dict(text="#!/bin/sh\necho bad luck >&2\nexit 3\n"), good, "status 3: bad luck"),
        (dict(text="#!/bin/sh\nkill -SEGV $$\n"), good, "signal 11"),
        (dict(program=harness_path), {**good, "colour": "red"}, "unknown option 'colour'"),
        (dict(program=harness_path), {**good, "node": {**good["node"], "name": "b"}},
         "node.name: 'a"),
        (dict(program=harness_path),
         {**good, "node": {**good["node"], "run_dir": cluster.dir + "/other"}}, "node.run_dir: "),
    ]
    for n, (program, config, why) in enumerate(cases, 1):
        replace(path, **program)
        node.config = config
        node.write()
        node.process.send_signal(signal.SIGUSR2)
        harness.wait(lambda: len(node.events("upgrade_refused")) == n,
                     lambda: f"refused for {why}:\n{node.log()}")
        assert why in node.events("upgrade_refused")[-1]["text"], why
    os.unlink(path)
    node.process.send_signal(signal.SIGUSR2)
    harness.wait(lambda: len(node.events("upgrade_refused")) == len(cases) + 1, "nothing there")
    assert "No such file" in node.events("upgrade_refused")[-1]["text"]
    node.config = good
    assert node.wait_running("web")["pid"] == pid and node.running
    assert "signal USR2: executing" not in node.whole_log()


def test_signals_wait_for_the_next_one(solo):
    """A stop that comes in the middle is heard; one that came before is not lost to an upgrade."""
    node = solo({"web": sleeper(instances=3)})
    for i in range(3):
        node.wait_running("web", i)
    node.process.send_signal(signal.SIGUSR2)
    harness.wait(lambda: "signal USR2: executing" in node.whole_log(), "it executes", pause=0.0005)
    node.stop()


def test_stop_wins(solo):
    node = solo({"web": sleeper(stop_timeout="1s")})
    node.wait_running("web")
    node.process.send_signal(signal.SIGTERM)
    node.process.send_signal(signal.SIGUSR2)
    node.stop(asked=True)
    assert "signal USR2: executing" not in node.whole_log()


def test_limits_stay(solo):
    """Children get the soft limit that the first daemon was started with."""
    show = {"command": ["/bin/sh", "-c", "ulimit -Sn; exec sleep 1000"],
            "log": {"to": "inherit"}}
    node = solo({"web": show})
    pid = node.wait_running("web")["pid"]

    def limit(pid):
        with open(f"/proc/{pid}/limits") as f:
            return [line for line in f if line.startswith("Max open files")]
    before = limit(pid)
    upgrade(node)
    os.kill(pid, signal.SIGKILL)
    assert limit(node.wait_running("web", pid=lambda p: p != pid)["pid"]) == before


def test_in_a_cluster(cluster):
    """The fence stays on guard, the bus comes back, nobody is declared dead."""
    a, b = cluster.start("a", "b", children={"web": sleeper(instances=6), "count": counter()})
    names = [("web", i) for i in range(6)] + [("count", 0)]
    entries = {n: cluster.wait_everywhere(*n) for n in names}
    client = Client(cluster, "count")
    client.acks(10)
    fence, bus = a.fence_pid(), a.bus_pid()
    for _ in range(2):
        upgrade(a)
        cluster.wait_members()
    assert a.fence_pid() == fence and a.bus_pid() != bus
    client.acks(10)
    client.finish(dead_allowed=True)
    for n in names:
        entry = cluster.wait_everywhere(*n)
        assert (entry["pid"], entry["epoch"]) == (entries[n]["pid"], entries[n]["epoch"])
    assert not b.events("node_dead")
    assert not zombies_of(a.process.pid)


def test_in_mid_migration(cluster):
    """As after the death of a daemon, source or target, whatever the migration comes to."""
    steps = ["data", "final", "committed", "loading", "activate"]
    cluster.start("a", "b", children={
        **{step: raw(cluster, step, "--ballast", "200000", migration=SLOW, stop_timeout="4s")
           for step in steps}, "by": sleeper(instances=4)})
    by = [cluster.wait_everywhere("by", i)["pid"] for i in range(4)]
    for name in "ab":
        held = [Held(cluster, step, step) for step in steps]
        for one in held:
            one.go()
        for one in held:
            one.wait()
        upgrade(cluster.nodes[name])
        for one in held:
            one.faults.clear()
        cluster.wait_members()
        cluster.wait_quiet()
        for one in held:
            one.check()
    assert [cluster.wait_everywhere("by", i)["pid"] for i in range(4)] == by


def test_hooks_live_on(solo, cluster):
    made = cluster.dir + "/made"
    hook = f"sleep 0.4; echo lost; echo $PROCHUB_CHILD >>{made}"
    node = solo({"web": sleeper()}, hooks={"slow": {
        "on": ["child_starting"], "command": ["/bin/sh", "-c", "trap '' PIPE; " + hook]}})
    node.wait_running("web")
    upgrade(node)
    harness.wait(lambda: os.path.exists(made), "the hook comes to its end")
    harness.wait(lambda: not zombies_of(node.process.pid), "it is reaped")


def test_hooks_that_wait_are_run_by_the_next(solo, cluster):
    """Each once, with the event that it is about; one that is no more in the file is told."""
    made, slow = cluster.dir + "/made", ["/bin/sh", "-c", "sleep 1"]
    told = f"echo $PROCHUB_EVENT $PROCHUB_CHILD/$PROCHUB_INSTANCE $PROCHUB_SEQ >>{made}; cat >>{made}"
    node = solo({"web": {**sleeper(), "instances": 12}}, hooks={
        "slow": {"on": ["child_starting"], "command": slow},
        "told": {"on": ["child_ready"], "command": ["/bin/sh", "-c", told]},
        "7": {"on": ["child_ready"], "command": ["/bin/true"]}})
    for i in range(12):
        node.wait_running("web", i)
    del node.config["hooks"]["7"]
    node.write()
    upgrade(node)

    def lines():
        with open(made) as f:
            return f.read().splitlines()
    harness.wait(lambda: os.path.exists(made) and len(lines()) == 24, "all are run", 20)
    events = [json.loads(line) for line in lines() if line.startswith("{")]
    assert sorted(e["instance"] for e in events) == list(range(12))
    for event in events:
        assert f"child_ready web/{event['instance']} {event['seq']}" in lines()
    assert "hook 7: an event that waited for it runs none" in node.whole_log()


def test_its_log_is_read_late(cluster):
    """What waits in the memory of a program that is to be replaced is written before."""
    manager = Manager(cluster.dir + "/manager")
    node = cluster.node("a", {"web": sleeper()}, alone=True)
    node.write()
    ours, its = os.pipe()
    node.process = subprocess.Popen(
        [harness.PROCHUBD, "-c", node.file], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=its,
        env={"PATH": os.environ["PATH"], "PROCHUB_E2E": cluster.dir, "NOTIFY_SOCKET": cluster.dir + "/manager"})
    manager.wait("READY=1")
    node.wait_running("web")
    os.set_blocking(its, False)
    while select.select([], [its], [], 0)[1]:
        os.write(its, b"\n" * 4096)
    os.close(its)
    for _ in range(3):
        node.call("restart", child="web", timeout=5)
        node.wait_running("web")
    node.process.send_signal(signal.SIGUSR2)
    manager.wait("RELOADING=1")
    got = b""
    while b"signal USR2: executing" not in got:
        assert select.select([ours], [], [], 10)[0], got[-2000:]
        got += os.read(ours, 1 << 16)
    assert got.count(b"child_ready web") == 4
    manager.wait("READY=1")
    node.stop()
    os.close(ours)


def test_a_stop_just_before_it(solo):
    """The signal comes to the one or to the other, and is not lost between them."""
    node = solo({"web": sleeper()})
    for _ in range(25):
        node.wait_running("web")
        node.process.send_signal(signal.SIGUSR2)
        size = os.path.getsize(node.output)
        while True:
            with open(node.output) as f:
                f.seek(size)
                if "-t: configuration is correct" in f.read():
                    break
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(10) == 0
        node.start()


def test_a_flood_of_signals(solo):
    """Whatever comes while one is under way is one more, or none; it ends, and all is as it was."""
    node = solo({"web": sleeper(instances=10)})
    pids = [node.wait_running("web", i)["pid"] for i in range(10)]
    done = threading.Event()

    def flood():
        while not done.is_set():
            node.process.send_signal(signal.SIGUSR2)
            node.process.send_signal(signal.SIGHUP)
            time.sleep(0.003)
    sender = threading.Thread(target=flood)
    sender.start()
    harness.wait(lambda: node.whole_log().count("signal USR2: executing") >= 5, "five", 20)
    done.set()
    sender.join()

    def found():
        try:
            return sorted(entry.get("pid") or 0 for entry in node.status()["children"])
        except OSError:  # the last signal's turn may have come just now
            return None
    harness.wait(lambda: found() == sorted(pids), "the same workers")
