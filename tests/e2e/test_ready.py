"""Readiness and health asked from outside: tcp, http, exec; a swap waits for it."""

import os
import pathlib
import socket
import time

import pytest

import harness
from harness import free_port

# Answers GET with the status that the file `status` in its folder says; "hang": not at all.
SERVER = """
import http.server, os, sys, time
while sys.argv[2] and not os.path.exists(sys.argv[2]): time.sleep(0.05)
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = open("status").read().strip() if os.path.exists("status") else "200"
        with open("asked", "a") as f: f.write(self.path + "\\n")
        if said == "hang": time.sleep(60)
        self.send_response(int(said)); self.end_headers()
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer.allow_reuse_address = True
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), H).serve_forever()
"""


def server(port, tmp_path, waits_for="", **options):
    """It listens once there is that file in its folder."""
    return {"command": [harness.PYTHON, "-S", "-c", SERVER, str(port), waits_for],
            "dir": str(tmp_path), **options}


def write(path, text):
    """As one step: the server reads it while it runs."""
    part = path.with_suffix(".part")
    part.write_text(text)
    part.rename(path)


@pytest.mark.parametrize("kind", ["tcp", "http", "exec"])
def test_ready_when_it_answers(solo, tmp_path, kind):
    port = free_port()
    ready = {"tcp": f"tcp:{port}", "http": f"http:http://127.0.0.1:{port}/up?i=%i",
             "exec": "exec:test -e 'up %c'"}[kind]
    node = solo({"web": server(port, tmp_path, "go", ready=ready)})
    entry = node.wait_child("web", state="starting")
    assert not entry["ready"]
    (tmp_path / "go").touch()
    if kind == "exec":
        time.sleep(0.3)
        assert node.child("web")["state"] == "starting"
        (tmp_path / "up web").touch()
    entry = node.wait_running("web")
    assert entry["ready"] and entry["restarts"] == 0
    if kind == "http":
        assert "/up?i=0" in (tmp_path / "asked").read_text().split()


def test_a_probe_is_not_its_own_answer(cluster):
    """Nobody listens, and the kernel has but one port for connections: the one that is asked for."""
    node = cluster.node("a", {"web": {"command": ["/bin/sleep", "100000"], "ready": "tcp:41000",
                                      "start_timeout": "700ms"}}, alone=True)
    node.prefix = ["unshare", "-n", "/bin/sh", "-c", "ip link set lo up && echo 41000 41000 "
                   ">/proc/sys/net/ipv4/ip_local_port_range && exec \"$@\"", "sh"]
    node.start()
    said = node.wait_event("child_restarting", child="web")
    assert "not ready: " in said["text"] and not node.events("child_ready")


def test_a_start_that_never_answers_says_why(solo, tmp_path):
    port = free_port()
    write(tmp_path / "status", "503")
    node = solo({"web": server(port, tmp_path, start_timeout="3s",
                               ready=f"http:http://localhost:{port}/")})
    node.wait_child("web", restarts=lambda n: n >= 1)
    assert not node.child("web")["ready"]
    said = node.wait_event("child_restarting", child="web")
    assert "answered with status 503" in str(said)
    assert "answered with status 503" in node.log()


def test_unhealthy_is_restarted_and_a_hiccup_is_not(solo, tmp_path):
    port = free_port()
    node = solo({"web": server(port, tmp_path, ready=f"tcp:{port}",
                               health={"http": f"http://127.0.0.1:{port}/healthz",
                                       "interval": "100ms", "timeout": "200ms", "failures": 4})})
    pid = node.wait_running("web")["pid"]
    write(tmp_path / "status", "500")
    harness.wait(lambda: "health check failed (1 of 4)" in node.log(), "a failed check")
    write(tmp_path / "status", "200")
    asked = (tmp_path / "asked").read_text().count("/healthz")
    harness.wait(lambda: (tmp_path / "asked").read_text().count("/healthz") > asked + 5, "checks")
    assert node.child("web")["pid"] == pid
    write(tmp_path / "status", "hang")
    said = node.wait_event("child_restarting", child="web")
    assert "no answer within 200 ms" in str(said)
    write(tmp_path / "status", "200")
    assert node.wait_running("web", pid=lambda p: p != pid)["restarts"] == 1


def test_commands_run_as_the_child_and_are_ended(solo, cluster):
    check = ("exec:sh -c 'echo \"$PROCHUB_CHILD $PROCHUB_INSTANCE $WHO ${PROCHUB_TOKEN:-none} "
             "$(id -un) $PWD\" >>said; sleep 300 & test -e ok || sleep 300'")
    tmp_path = pathlib.Path(cluster.dir) / "work"
    tmp_path.mkdir()
    for folder, mode in ((cluster.dir, 0o755), (tmp_path, 0o777)):
        os.chmod(folder, mode)
    options = {"user": "nobody"} if os.geteuid() == 0 else {}
    node = solo({"web": {"command": ["sleep", "100000"], "dir": str(tmp_path), "env": {"WHO": "me"},
                         "ready": check, "start_timeout": "300ms", **options}})
    node.wait_child("web", restarts=lambda n: n >= 1)
    (tmp_path / "ok").touch()
    node.wait_running("web")
    words = (tmp_path / "said").read_text().splitlines()[0].split()
    user = "nobody" if os.geteuid() == 0 else os.environ.get("USER", "")
    assert words == ["web", "0", "me", "none", user, str(tmp_path)]
    # none of their processes is left, not even those in the background of a check that ended well
    harness.wait(lambda: not harness.processes_of(str(tmp_path / "said"))
                 and not sleepers(tmp_path), "nothing is left of the checks")


def test_a_check_that_hangs_ends_with_all_that_it_has_started(solo, tmp_path):
    """Also what has a process group or a session of its own, as timeout(1) makes one."""
    check = "sh -c 'echo >>asked; setsid sleep 300 & timeout 300 sleep 300; echo'"
    node = solo({"web": {"command": ["sleep", "100000"], "dir": str(tmp_path), "health": {
        "exec": check, "interval": "100ms", "timeout": "300ms", "failures": 1000}}})
    pid = node.wait_running("web")["pid"]
    harness.wait(lambda: (tmp_path / "asked").exists()
                 and (tmp_path / "asked").read_text().count("\n") >= 6, "checks")
    most = harness.wait(lambda: sleepers(tmp_path), "what the check has started")
    assert len(most) <= 2, most
    assert node.child("web")["pid"] == pid
    node.stop()
    assert not sleepers(tmp_path)


def sleepers(folder):
    """Processes `sleep 300` whose working directory is that one."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read()
            if line == b"sleep\x00300\x00" and os.readlink(f"/proc/{pid}/cwd") == str(folder):
                found.append(int(pid))
        except OSError:
            continue
    return found


def test_a_daemon_that_comes_back_goes_on_asking(solo, tmp_path):
    port = free_port()
    write(tmp_path / "status", "503")
    node = solo({"web": server(port, tmp_path, ready=f"http:http://127.0.0.1:{port}/",
                               start_timeout="60s")})
    pid = node.wait_child("web", state="starting", pid=lambda p: p)["pid"]
    harness.wait(lambda: (tmp_path / "asked").exists(), "it was asked")
    node.kill()
    write(tmp_path / "status", "200")
    node.start()
    assert node.wait_running("web")["pid"] == pid


def test_a_move_waits_until_the_new_one_serves(cluster, tmp_path):
    spec = {"command": ["sh", "-c", f"until test -e {tmp_path}/go-%n; do sleep 0.1; done; "
                        f"touch {tmp_path}/up-%n; exec sleep 100000"],
            "ready": f"exec:test -e {tmp_path}/up-%n", "start_timeout": "60s",
            "migration": {"retention": "200ms"}}
    (tmp_path / "go-a").touch()
    (tmp_path / "go-b").touch()
    a, b = cluster.start("a", "b", children={"web": spec})
    home = a.wait_running("web")["node"]
    there = "b" if home == "a" else "a"
    pid = a.child("web")["pid"]
    for name in ("go", "up"):
        harness.wait(lambda: (tmp_path / f"{name}-{home}").exists(), name)
    (tmp_path / f"go-{there}").unlink()
    (tmp_path / f"up-{there}").unlink(missing_ok=True)
    assert a.ctl("move", "web", there, "--no-wait").returncode == 0
    moving = harness.wait(lambda: a.migrations("web"), "it moves")[0]
    time.sleep(1)  # it must still be so after a while: nothing that could be waited for
    entry = a.child("web")
    assert (entry["node"], entry["pid"], entry["ready"]) == (home, pid, True)
    assert a.migrations("web")[0]["result"] == "running"
    (tmp_path / f"go-{there}").touch()
    done = a.wait_migration("web", result="done")
    assert done["id"] == moving["id"]
    entry = b.wait_running("web", node=there)
    assert entry["ready"] and entry["pid"] != pid
