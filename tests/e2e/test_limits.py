"""Limits of children. Where this machine has no cgroup v2 controllers it is the refusal, or the
warning, that is tested, and `make vm` runs the same in a virtual one that has them; descriptors
and core files are limited everywhere."""

import os
import re
import signal
import subprocess
import time

import pytest

import harness
from harness import wait
from raw import sleeper


def cgroup_mount():
    with open("/proc/self/mountinfo") as f:
        for line in f:
            if " - cgroup2 " in line:
                return line.split()[4]
    return None


def controllers():
    """Those that a daemon started here could hand on."""
    mount = cgroup_mount()
    if not mount:
        return set()
    with open("/proc/self/cgroup") as f:
        own = [line.rstrip("\n").split("::", 1)[1] for line in f if line.startswith("0::")]
    try:
        with open(f"{mount}{own[0] if own else ''}/cgroup.controllers") as f:
            return set(f.read().split())
    except OSError:
        return set()


def cgroup_of(pid):
    """The path of its cgroup v2, below the mount."""
    with open(f"/proc/{pid}/cgroup") as f:
        return next((x.rstrip("\n")[3:] for x in f if x.startswith("0::")), None)


def cgroups(node):
    """The folders of the cgroups that this node's daemons have made."""
    mount, found = cgroup_mount(), []
    marks = {os.path.basename(cgroup_of(pid) or "")[:25]
             for pid in harness.processes_of("PROCHUB_SOCKET=" + node.run_dir)}
    for folder, names, _ in os.walk(mount or "/nowhere"):
        found += [f"{folder}/{n}" for n in names if n[:25] in marks and n.startswith("prochub-")]
    return found


def limit_of(pid, name):
    with open(f"/proc/{pid}/limits") as f:
        return next(re.split(r"\s{2,}", line)[1:3] for line in f if line.startswith(name))


def python(code, **more):
    return {"command": [harness.PYTHON, "-S", "-c", code.replace("%", "%%")], **more}


def test_descriptors_and_core_files(solo):
    node = solo({"few": sleeper(limits={"nofile": 4096, "core": 0}),
                 "big": sleeper(limits={"core": "1M"}), "none": sleeper()})
    few, big, none = (node.wait_running(c)["pid"] for c in ("few", "big", "none"))
    assert limit_of(few, "Max open files") == ["4096", "4096"]
    assert limit_of(few, "Max core file size") == ["0", "0"]
    assert limit_of(big, "Max core file size") == [str(1 << 20)] * 2
    mine = limit_of(os.getpid(), "Max open files")
    assert limit_of(none, "Max open files") == limit_of(big, "Max open files") == mine
    assert limit_of(none, "Max core file size") == limit_of(os.getpid(), "Max core file size")


def test_ten_thousand_descriptors(solo, cluster):
    """As many as it may have, and a daemon that is not bothered by them."""
    path = cluster.dir + "/count"
    node = solo({"greedy": python(
        "import os, signal\n"
        "n = 3\n"
        "try:\n"
        "    while True: os.dup(0); n += 1\n"
        "except OSError: pass\n"
        f"open(os.devnull) if n < 10000 else None\n"
        f"os.close(3); open({path!r}, 'w').write(str(n)); os.dup(0)\n"
        "signal.pause()\n", limits={"nofile": 10000})})
    wait(lambda: os.path.exists(path) and open(path).read(), "its count")
    assert open(path).read() == "10000"
    node.call("stop", child="greedy")
    node.wait_child("greedy", state="stopped")


def test_core_dump_is_told(solo):
    """Whether a core was written is in the exit, where a core may be written."""
    node = solo({"web": sleeper(limits={"core": "1G"}, dir="/tmp"),
                 "bare": sleeper(limits={"core": 0})})
    with open("/proc/sys/kernel/core_pattern") as f:
        pattern = f.read().strip()
    for child in ("web", "bare"):
        pid = node.wait_running(child)["pid"]
        os.kill(pid, signal.SIGQUIT)
        event = node.wait_event("child_exited", child=child, pid=pid)
        assert event["exit"]["signal"] == signal.SIGQUIT
        if child == "bare" and not pattern.startswith("|"):
            assert event["exit"]["core"] is False
        if child == "web" and pattern == "core":
            assert event["exit"]["core"] is True
            for name in ("/tmp/core", f"/tmp/core.{pid}"):
                if os.path.exists(name):
                    os.unlink(name)


LIMITS = [("memory", "64M", "memory"), ("cpu", "50%", "cpu"), ("tasks", 20, "pids")]


@pytest.mark.parametrize("option, value, controller", LIMITS, ids=[x[0] for x in LIMITS])
def test_limit_holds_or_is_refused(cluster, option, value, controller):
    node = cluster.node("a", {"web": sleeper(limits={option: value})}, alone=True).start()
    if controller in controllers():
        folder = cgroup_mount() + cgroup_of(node.wait_running("web")["pid"])
        name = {"memory": "memory.max", "cpu": "cpu.max", "tasks": "pids.max"}[option]
        with open(f"{folder}/{name}") as f:
            assert f.read().split()[0] == {"memory": str(64 << 20), "cpu": "50000",
                                           "tasks": "20"}[option]
        return
    event = node.wait_event("child_restarting", child="web")
    assert f"it cannot be started: limits.{option}: " in event["text"], event
    assert not cluster.workers("web") and node.child("web")["pid"] is None
    checked = subprocess.run([harness.PROCHUBD, "-t", "-c", node.file], capture_output=True,
                             text=True)
    assert checked.returncode == 0
    assert f"children.web.limits.{option}: this machine has no cgroup v2 controller " \
        f"'{controller}': the child is not started here" in checked.stdout


def test_limits_that_are_only_warned_about(solo):
    node = solo({"web": sleeper(limits={"memory": "64M", "cpu": "50%", "tasks": 20,
                                        "missing": "warn"})})
    node.wait_running("web")
    there = controllers()
    for option, _, controller in LIMITS:
        warned = f"web/0: runs without limits.{option}: " in node.log()
        assert warned == (controller not in there), node.log()


def test_another_node_has_what_is_missing(cluster):
    """A child that cannot be limited here runs where it can; nowhere it is not run at all."""
    limits = {"memory": "64M"}
    children = {"web": sleeper(limits=limits)}
    a, b = cluster.start("a", "b", children=children)
    if "memory" in controllers():
        cluster.wait_everywhere("web")
        return
    wait(lambda: "limits.memory" in a.log() or "limits.memory" in b.log(), "a refusal")
    assert not cluster.workers("web")


def test_fork_bomb(cluster, solo):
    """Limited by tasks it stays within, and all of it is gone after a stop."""
    bomb = python("import os, time\n"
                  "for i in range(200):\n"
                  "    try:\n"
                  "        if not os.fork():\n"
                  "            if i %2: os.setsid()\n"
                  "            time.sleep(600)\n"
                  "    except OSError: pass\n"
                  "time.sleep(600)\n".replace("%2", "% 2"),
                  limits={"tasks": 20, **({} if "pids" in controllers() else {"missing": "warn"})})
    node = solo({"bomb": bomb})
    node.wait_running("bomb")
    most = 20 if "pids" in controllers() else 201
    wait(lambda: len(cluster.workers("bomb")) == most, lambda: len(cluster.workers("bomb")))
    time.sleep(0.2)
    assert len(cluster.workers("bomb")) == most
    if most != 20:
        assert "bomb/0: runs without limits.tasks: " in node.log()
    node.call("stop", child="bomb")
    node.wait_child("bomb", state="stopped")
    assert not cluster.workers("bomb")


def test_memory_that_runs_out(cluster, solo):
    """Told apart from a kill -9 by anybody else."""
    eater = python("import time\nx = []\nwhile True: x.append(b'x' * (1 << 20)); time.sleep(0.001)\n",
                   limits={"memory": "32M"})
    if "memory" not in controllers():
        node = solo({"eater": eater, "web": sleeper()})
        event = node.wait_event("child_restarting", child="eater")
        assert "limits.memory" in event["text"]
        pid = node.wait_running("web")["pid"]
        os.kill(pid, signal.SIGKILL)
        event = node.wait_event("child_exited", child="web", pid=pid)
        assert event["exit"] == {"signal": 9, "core": False}
        return
    node = solo({"eater": eater})
    event = node.wait_event("child_exited", child="eater", timeout=30)
    assert event["exit"] == {"signal": 9, "core": False, "oom": True}
    assert "out of memory" in node.ctl("status").stdout


def test_memory_that_is_too_little_to_begin_with(cluster):
    """Its arguments alone are more than it may have. It has the daemon's memory until it executes:
    nobody but it may pay for that."""
    if "memory" not in controllers():
        return  # its refusal is tested above
    with open(cluster.dir + "/large", "w") as f:
        f.writelines(f"LARGE_{i}={'x' * 120000}\n" for i in range(2))
    node = cluster.node("a", {"web": sleeper(), "large": {
        "command": ["/bin/sleep", "600", *["0" * 120000] * 2], "limits": {"memory": "1M"},
        "env_file": cluster.dir + "/large",
        "restart": {"policy": "permanent", "intensity": 3, "on_limit": "fail"}}}, alone=True)
    node.env = {f"LC_{i}": "x" * 120000 for i in range(8)}
    node.start()
    pid = node.wait_running("web")["pid"]
    node.wait_child("large", state="failed", timeout=30)
    assert node.process.poll() is None and node.child("web")["pid"] == pid


def test_memory_of_a_grandchild(cluster, solo):
    """It counts as the child's, which ends as a whole: half of a child is no use."""
    if "memory" not in controllers():
        return  # its refusal is tested above
    node = solo({"web": python(
        "import os, time\n"
        "if not os.fork():\n"
        "    os.setsid()\n"
        f"    while not os.path.exists({cluster.dir!r} + '/go'): time.sleep(0.05)\n"
        "    x = []\n"
        "    while True: x.append(b'x' * (1 << 20)); time.sleep(0.001)\n"
        "time.sleep(600)\n", limits={"memory": "32M"}, restart={"policy": "temporary"})})
    pid = node.wait_running("web")["pid"]
    wait(lambda: len(cluster.workers("web")) == 2, "the grandchild")
    open(cluster.dir + "/go", "w").close()
    entry = node.wait_child("web", state="stopped", timeout=30)
    assert entry["exit"] == {"signal": 9, "core": False, "oom": True}
    assert not harness.alive(pid) and not cluster.workers("web")


def test_processor_time_of_all_its_processes(cluster, solo):
    if "cpu" not in controllers():
        return  # its refusal is tested above
    node = solo({"busy": python("import os\nos.fork()\nwhile True: pass\n", limits={"cpu": "20%"})})
    pid = node.wait_running("busy")["pid"]
    stat = cgroup_mount() + cgroup_of(pid) + "/cpu.stat"

    def used_s():
        with open(stat) as f:
            return int(re.search(r"usage_usec (\d+)", f.read()).group(1)) / 1e6
    began, before = time.monotonic(), used_s()
    time.sleep(3)
    share = (used_s() - before) / (time.monotonic() - began)
    assert 0.1 < share < 0.3, share


def test_each_worker_has_its_cgroup(solo):
    """Kept over kill -9 of the daemon, found again, and removed with the last process."""
    if not cgroup_mount() or os.access(cgroup_mount(), os.W_OK) is False:
        node = solo({"web": sleeper()})
        assert "workers get no cgroups: " in node.log()
        return
    node = solo({"web": sleeper(instances=2)})
    pid = node.wait_running("web", 0)["pid"]
    node.wait_running("web", 1)
    mine = cgroup_of(pid)
    assert re.search(r"/prochub-[0-9a-f]{16}-web\.0\.0-[0-9a-f]{16}$", mine), mine
    assert len(cgroups(node)) == 2
    node.kill()
    folder, stray = cgroup_mount() + mine, cgroup_mount() + os.path.dirname(mine)
    stray = f"{stray.rstrip('/')}/{os.path.basename(mine)[:25]}gone.0.0-0123456789abcdef"
    os.mkdir(stray)
    left = subprocess.Popen(["sleep", "600"])
    with open(stray + "/cgroup.procs", "w") as f:
        f.write(str(left.pid))
    node.start()
    assert node.wait_running("web", 0)["pid"] == pid and cgroup_of(pid) == mine
    assert left.wait(5) == -signal.SIGKILL
    wait(lambda: not os.path.exists(stray), "the end of a cgroup that is nobody's")
    os.kill(pid, signal.SIGKILL)
    wait(lambda: not os.path.exists(folder), "the end of a cgroup")
    again = node.wait_running("web", 0, pid=lambda p: p and p != pid)["pid"]
    assert cgroup_of(again) != mine
    there = cgroups(node)
    assert len(there) == 2
    node.stop()
    assert not any(map(os.path.exists, there))


def test_not_root_is_refused_by_name(cluster):
    if os.geteuid() != 0:
        return
    node = cluster.node("a", {"web": sleeper(limits={"memory": "64M", "cpu": "50%", "tasks": 9})},
                        alone=True)
    node.write()
    os.chmod(node.file, 0o644)
    checked = subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
         harness.PROCHUBD, "-t", "-c", node.file], capture_output=True, text=True)
    assert checked.returncode == 2
    for option in ("memory", "cpu", "tasks"):
        assert re.search(rf"prochub\.yaml:\d+:\d+: children\.web\.limits\.{option}: only a daemon "
                         r"of root can set it", checked.stderr), checked.stderr
