"""Programs that are run when something happens: what they find, what they may do wrong."""

import json
import os
import signal
import stat
import subprocess
import time

import harness
import pytest
from raw import counter, ends, sh, sleeper

BASICS = {"PATH", "LANG", "TZ", "HOME", "USER", "LOGNAME", "SHELL", "PROCHUB_EVENT",
          "PROCHUB_NODE", "PROCHUB_CONTROL", "PROCHUB_SEQ"}
OF_CHILD = {"PROCHUB_CHILD", "PROCHUB_INSTANCE", "PROCHUB_REPLICA"}
# what a shell adds by itself
OF_SHELL = {"PWD", "OLDPWD", "SHLVL", "_"}
RECORD = """dir=$1; shift; file=$dir/.$$; ls /proc/self/fd >$file.fds
{ env -0; printf 'ARGS=%s\\0FDS=' "$*"; tr '\\n' ' ' <$file.fds; printf '\\0IN='; cat; } >$file
mv $file $dir/$PROCHUB_SEQ"""


class Records:
    """What a hook has written down, by the number of its event."""

    def __init__(self, cluster, name):
        self.dir = f"{cluster.dir}/{name}"
        os.makedirs(self.dir)
        os.chmod(self.dir, 0o777)

    def hook(self, *on, args=(), **options):
        script = RECORD.replace("%", "%%")
        return {"on": list(on), "command": ["/bin/sh", "-c", script, "sh", self.dir, *args],
                **options}

    def all(self):
        found = []
        for name in sorted(filter(str.isdigit, os.listdir(self.dir)), key=int):
            with open(f"{self.dir}/{name}") as f:
                found.append(dict(x.split("=", 1) for x in f.read().split("\0")))
        return found

    def wait(self, n, timeout=10):
        harness.wait(lambda: len(self.all()) >= n, lambda: f"{n} of {self.all()}", timeout)
        return self.all()


def hook(script, *on, **options):
    return {"on": list(on or ["child_ready"]),
            "command": ["/bin/sh", "-c", script.replace("%", "%%")], **options}


def wait_log(node, *parts, timeout=10):
    harness.wait(lambda: all(p in whole_log(node) for p in parts),
                 lambda: f"{parts} in {node.log()}", timeout)


def whole_log(node):
    with open(node.output, errors="replace") as f:
        return f.read()


def running(word):
    """Pids of the processes that have this argument."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if word.encode() in f.read().split(b"\0") and harness.alive(pid):
                    found.append(int(pid))
        except OSError:
            pass
    return found


def nap(cluster, n=0):
    """So many seconds that only a process of this test sleeps."""
    return f"{70000 + n}.{os.path.basename(cluster.dir).encode().hex()[-8:].translate(HEX)}"


HEX = str.maketrans("abcdef", "012345")


def gone(word, timeout=10):
    harness.wait(lambda: not running(word), lambda: f"{running(word)} have ended", timeout)


def test_what_it_finds(cluster):
    """The event in every form, its own arguments, and nothing else of the daemon's."""
    records, other = Records(cluster, "records"), Records(cluster, "other")
    a = cluster.node("a", {"web": counter(instances=2)}, alone=True, hooks={
        "all": records.hook("child_exited", "config_reloaded",
                            args=["%c/%i", "%r", "%n", "%%", "a b"]),
        "none": other.hook("quorum_lost")})
    a.env.update(SECRET="s", AWS_KEY="k", LANG="C", TZ="UTC", LC_TIME="C", PROCHUB_TOKEN="t",
                 LISTEN_FDS="1", LD_SHOW="1")
    held = os.open("/dev/null", os.O_RDONLY)
    a.start(pass_fds=[held])
    a.wait_running("web", 0)
    entry = a.wait_running("web", 1)
    os.kill(entry["pid"], signal.SIGKILL)
    ended = records.wait(1)[0]
    a.wait_running("web", 1, pid=lambda pid: pid != entry["pid"])
    a.call("reload")
    exited, reloaded = records.wait(2)
    assert exited == ended
    events = {e["seq"]: e for e in a.events()}
    for found in (exited, reloaded):
        event = json.loads(found["IN"])
        assert found["IN"].endswith("}\n") and found["IN"].count("\n") == 1
        assert event == events[int(found["PROCHUB_SEQ"])]
        assert (found["PROCHUB_EVENT"], found["PROCHUB_NODE"]) == (event["event"], "a")
        assert found["PROCHUB_CONTROL"] == a.control_path
        assert found["PATH"] == os.environ["PATH"] and found["TZ"] == "UTC"
        assert found["FDS"].split() == ["0", "1", "2", "3"]  # 3: of ls itself
        allowed = BASICS | OF_SHELL | {"LC_TIME", "ARGS", "FDS", "IN"}
        if found is exited:
            allowed |= OF_CHILD
        assert set(found) <= allowed, set(found) - allowed
        assert BASICS - set(found) == set()
    assert exited["ARGS"] == "web/1 0 a % a b"
    assert (exited["PROCHUB_CHILD"], exited["PROCHUB_INSTANCE"]) == ("web", "1")
    assert reloaded["ARGS"] == "/0 0 a % a b" and "PROCHUB_CHILD" not in reloaded
    os.close(held)
    assert not other.all()


def test_of_a_migration(cluster):
    """Each node runs its own hooks, for what happens there."""
    records = Records(cluster, "records")
    cluster.start("a", "b", children={"web": counter()}, hooks={
        "h": records.hook("migration_started", "child_migrated", args=["%n"])})
    source, target = ends(cluster, "web")
    before = len(records.all())
    source.call("move", child="web", node=target.name)
    migration = source.wait_migration("web", "done")["id"]

    def of_it():
        return [r for r in records.all()[before:] if r.get("PROCHUB_MIGRATION") == migration]
    harness.wait(lambda: len(of_it()) >= 2, records.all)
    for found in of_it():
        event = json.loads(found["IN"])
        assert event["migration"] == migration and event["node"] == found["ARGS"]
        assert (event["from"], event["to"]) == (source.name, target.name)


def test_not_root(cluster):
    if os.geteuid():
        pytest.skip("this one is not root anyway")
    records = Records(cluster, "records")
    a = cluster.node("a", {"web": sleeper()}, alone=True,
                     hooks={"h": records.hook("child_ready", args=["%c"])})
    os.chmod(a.dir, 0o777)
    a.start(user=65534, group=65534, extra_groups=[])
    found = records.wait(1)[0]
    assert found["ARGS"] == "web" and found["PROCHUB_CHILD"] == "web"
    assert os.stat(f"{records.dir}/{found['PROCHUB_SEQ']}").st_uid == 65534


def test_its_words(cluster):
    """Line by line in the log, so many and no more; the rest is counted, and it is not ended."""
    a = cluster.node("a", {"web": sleeper()}, alone=True, hooks={
        "short": hook("echo one; printf 'two\\nthr'; echo ee >&2; printf 'e\\033[1m'"),
        "long": hook("head -c 300000 /dev/zero | tr '\\0' x; echo; echo end of long"),
        "many": hook("seq -f 'line %.0f' 1 20000; exit 3")}).start()
    wait_log(a, "hook short: one\n", "hook short: two\n", "hook short: three\n",
             "hook short: e\\x1b[1m\n", "hook long: end of long\n",
             "hook many: and 19900 more lines\n", "hook many (child_ready web/0): exit code 3\n")
    log = whole_log(a)
    assert "hook many: line 100\n" in log and "hook many: line 101\n" not in log
    assert max(map(len, log.splitlines())) <= 1024


def test_what_goes_wrong(cluster):
    """Each is told, none harms anybody."""
    word = nap(cluster)
    odd = f"{cluster.dir}/odd"
    with open(odd, "w") as f:
        f.write("neither a program nor a script\n")
    os.chmod(odd, 0o755)
    a = cluster.node("a", {"web": sleeper()}, alone=True, hooks={
        "code": hook("exit 7"),
        "dies": hook("kill -SEGV $$"),
        "missing": {"on": ["child_ready"], "command": ["/no/such/program"]},
        "unknown": {"on": ["child_ready"], "command": ["no-such-program"]},
        "odd": {"on": ["child_ready"], "command": [odd]},
        "hangs": hook(f"exec sleep {word}", timeout="300ms"),
        "deaf": hook(f"trap '' TERM; sleep {word}; sleep {word}", timeout="300ms"),
        "leaves": hook(f"trap '' HUP; sleep {word} & (sleep {word} &); exit 0"),
        "forks": hook("(setsid sh -c 'sleep 2; echo too late' & )"),
        "shut": hook("exec <&- >&- 2>&-; exit 5")}).start()
    wait_log(a, "hook code (child_ready web/0): exit code 7\n",
             "hook dies (child_ready web/0): killed by signal 11\n",
             "hook missing (child_ready web/0): cannot be started: cannot execute "
             "'/no/such/program': No such file or directory\n",
             "hook unknown (child_ready web/0): cannot be started: 'no-such-program' is not in",
             "hook odd (child_ready web/0): cannot be started: cannot execute '",
             "hook hangs (child_ready web/0): its time was over: killed by signal 15\n",
             "hook deaf (child_ready web/0): its time was over: killed by signal 9\n",
             "hook shut (child_ready web/0): exit code 5\n")
    gone(word)
    assert "hook leaves" not in whole_log(a) and "hook forks" not in whole_log(a)
    a.wait_running("web")
    harness.wait(lambda: not running("sleep 2; echo too late"), "it has ended by itself")
    assert "too late" not in whole_log(a)


def test_a_storm(cluster):
    """Eight at once, so many wait, the oldest give way; what is supervised does not notice."""
    word = nap(cluster)
    a = cluster.node("a", {"quick": sh("exit 1", instances=40, restart={
        "backoff": "10ms", "backoff_max": "20ms", "intensity": 0}), "web": sleeper()}, alone=True,
        hooks={"slow": {"on": ["child_exited", "child_restarting"], "timeout": "1h",
                        "command": ["sleep", word]}}).start()
    began = time.monotonic()
    wait_log(a, "hooks: ", " events have run no hook: too many were waiting\n")
    most, until = 0, time.monotonic() + 3
    while time.monotonic() < until:
        assert a.child("web")["state"] == "running"
        most = max(most, len(running(word)))
    assert most == 8
    told = [x for x in whole_log(a).splitlines() if "have run no hook" in x]
    assert len(told) <= 2 + (time.monotonic() - began) / 10, told
    a.process.send_signal(signal.SIGTERM)
    assert a.process.wait(60) == 0, a.log()
    gone(word)
    assert "events have run no hook: the daemon is being stopped\n" in whole_log(a)


def test_a_storm_of_quick_ones(cluster):
    """They come to an end, and each event that was not dropped has had its hook."""
    log = f"{cluster.dir}/log"
    a = cluster.node("a", {"quick": sh("exit 1", instances=20, restart={
        "backoff": "10ms", "backoff_max": "20ms", "intensity": 0})}, alone=True,
        hooks={"h": hook(f"echo $PROCHUB_SEQ >>{log}", "child_exited")}).start()
    harness.wait(lambda: os.path.exists(log) and sum(1 for _ in open(log)) > 300, "300 hooks", 30)
    a.call("stop", child="quick")
    last = a.events("child_exited")[-1]["seq"]

    def seen():
        with open(log) as f:
            return [int(x) for x in f]
    harness.wait(lambda: last in seen(), lambda: f"{last} in {seen()[-100:]}")
    assert len(seen()) == len(set(seen()))


@pytest.mark.parametrize("how", ["ends", "hangs", "hurried"])
def test_stopped_while_a_hook_runs(cluster, how):
    """One that ends in time is waited for, one that does not is ended, both are told."""
    word, done = nap(cluster), f"{cluster.dir}/done"
    script = f"trap '' TERM; sleep {word}"
    if how == "ends":
        script = f"while [ -z \"$(tail -c 20 {done}.go)\" ]; do sleep 0.05; done; echo x >{done}"
        open(done + ".go", "w").close()
    a = cluster.node("a", {"web": sleeper()}, alone=True,
                     hooks={"h": hook(script, timeout="1h"),
                            "last": hook(f"echo x >{done}.last", "child_exited")}).start()
    a.wait_running("web")
    if how != "ends":
        harness.wait(lambda: running(word), "the hook runs")
    before = time.monotonic()
    a.process.send_signal(signal.SIGTERM)
    wait_log(a, "child_exited web/0")
    harness.wait(lambda: os.path.exists(done + ".last"), "the hook of the stop has run")
    if how == "hurried":
        a.process.send_signal(signal.SIGTERM)
    elif how == "ends":
        assert a.process.poll() is None
        with open(done + ".go", "w") as f:
            f.write("go\n")
    assert a.process.wait(60) == 0, a.log()
    took = time.monotonic() - before
    assert took > 4 or how != "hangs", took
    assert os.path.exists(done) == (how == "ends")
    wait_log(a, "" if how == "ends" else "its time was over: killed by signal 9")
    gone(word)
    assert a.start().child("web") is not None  # its locks are free


def test_killed_while_a_hook_runs(cluster):
    """The hook goes on, and the next daemon takes it for nothing of its own."""
    go = f"{cluster.dir}/go"
    a = cluster.node("a", {"web": sleeper()}, alone=True, hooks={"h": hook(
        f"echo begun; while [ ! -e {go} ]; do sleep 0.05; done; echo x >{go}.done",
        timeout="1h")}).start()
    old = a.wait_running("web")
    wait_log(a, "hook h: begun")
    a.kill()
    a.start()
    assert a.wait_running("web")["pid"] == old["pid"]
    open(go, "w").close()
    harness.wait(lambda: os.path.exists(go + ".done"), "it has ended by itself")
    gone(go)


def test_reload(cluster):
    """From the next event on; what runs goes on as it was begun."""
    records = Records(cluster, "records")
    go = f"{cluster.dir}/go"
    a = cluster.node("a", {"web": sleeper()}, alone=True, hooks={
        "h": hook(f"while [ ! -e {go} ]; do sleep 0.05; done; echo old one",
                  "child_ready")}).start()
    a.wait_running("web")
    a.config["hooks"] = {"h": records.hook("child_exited"), "new": hook("echo new one")}
    a.write()
    assert {"option": "hooks", "reloadable": True} in a.call("reload", dry_run=True)["options"]
    assert {"option": "hooks", "reloadable": True} in a.call("reload")["options"]
    assert a.call("reload")["options"] == []
    a.call("restart", child="web")
    wait_log(a, "hook new: new one\n")
    assert records.wait(1)[0]["PROCHUB_EVENT"] == "child_exited"
    assert "old one" not in whole_log(a)
    open(go, "w").close()
    wait_log(a, "hook h: old one\n")
    a.config["hooks"] = {"h": {"on": ["child_exitd"], "command": ["x"]}}
    a.write()
    with pytest.raises(harness.Refused, match="did you mean 'child_exited'"):
        a.call("reload")
    a.call("restart", child="web")
    records.wait(2)
    a.config["hooks"] = {}
    a.write()
    a.call("reload")
    a.call("restart", child="web")
    a.wait_running("web")
    assert len(records.all()) == 2


def test_checked_and_shown(cluster):
    a = cluster.node("a", alone=True, hooks={
        "page-me": {"on": ["child_failed", "conflict"], "command": ["/bin/true", "%c"]}})
    a.write()

    def prochubd(option):
        return subprocess.run([harness.PROCHUBD, option, "-c", a.file], capture_output=True,
                              text=True, env={"PATH": os.environ["PATH"]})
    shown = prochubd("-T")
    assert shown.returncode == 0, shown.stderr
    assert "\n  page-me:  # " in shown.stdout
    assert "\n    on: [child_failed, conflict]  # " in shown.stdout
    assert "\n    timeout: 10s  # default\n" in shown.stdout
    assert "\n  conflict_keep: 168h  # default\n" in shown.stdout
    assert prochubd("-t").returncode == 0
    a.config["hooks"]["page-me"]["on"] = ["child_faild"]
    a.write()
    refused = prochubd("-t")
    assert refused.returncode == 2
    assert "hooks.page-me.on: 'child_faild' is not an event, did you mean 'child_failed'?" in \
        refused.stderr


def test_modes(cluster):
    """What a hook makes has the mode of what a child makes, whatever the daemon's umask was."""
    made = f"{cluster.dir}/made"
    a = cluster.node("a", {"web": sleeper()}, alone=True,
                     hooks={"h": hook(f"echo x >{made}.new; mv {made}.new {made}")})
    a.start(preexec_fn=lambda: os.umask(0o777) and None)
    harness.wait(lambda: os.path.exists(made), "it was made")
    assert stat.S_IMODE(os.stat(made).st_mode) == 0o644
