"""prochubctl against a daemon made here: words, requests, tables, JSON, exit statuses.

The daemon is a Unix socket that answers what the test tells it; the program is the real one,
from PROCHUB_BUILD (default build/release).
"""

import json
import os
import pty
import re
import select
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("PROCHUB_BUILD") or os.path.join(ROOT, "build", "release"))
CTL = os.path.join(BUILD, "prochubctl")

EPOCH = 7 * 2**24 + 4711
ID = "00112233445566778899aabbccddeeff"
OTHER_ID = "ff112233445566778899aabbccddeeff"


class FakeDaemon:
    """Answers each request line with the lines that `answer(request)` yields: objects or bytes."""

    def __init__(self, path, answer=None):
        self.path = str(path)
        self.answer = answer or (lambda request: [{}])
        self.requests = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(self.path)
        self.socket.listen(8)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                request = json.loads(line)
                self.requests.append(request)
                try:
                    for answer in self.answer(request):
                        connection.sendall(self.encode(request, answer))
                except OSError:
                    return

    @staticmethod
    def encode(request, answer):
        if isinstance(answer, bytes):
            return answer
        frame = {"re": request["req"], "ok": "code" not in answer}
        return json.dumps({**frame, **answer}).encode() + b"\n"

    def close(self):
        self.socket.close()


@pytest.fixture
def daemon(tmp_path):
    fake = FakeDaemon(tmp_path / "control.sock")
    yield fake
    fake.close()


def environment(**more):
    env = {k: v for k, v in os.environ.items() if k not in ("PROCHUB_CONTROL", "NO_COLOR")}
    env.update(LC_ALL="C.UTF-8", **more)
    return env


def late(*answers, seconds=5):
    """Answers at once with all but the last line, which comes after so long."""
    def answer(request):
        yield from answers
        time.sleep(seconds)
        yield {}
    return answer


def ctl(*words, socket_path=None, env=None, timeout=20):
    env = env or environment()
    if socket_path:
        env["PROCHUB_CONTROL"] = str(socket_path)
    return subprocess.run([CTL, *map(str, words)], env=env, timeout=timeout, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True)


def ask(daemon, *words, answer=None, env=None):
    """Runs prochubctl against `daemon`, which gives `answer` (an object or a list of lines)."""
    if answer is not None:
        lines = answer if isinstance(answer, list) else [answer]
        daemon.answer = lambda request: lines
    return ctl(*words, socket_path=daemon.path, env=env)


def child(name="web", instance=0, state="running", **more):
    entry = {"child": name, "instance": instance, "replica": 0, "node": "a", "state": state,
             "ready": state == "running", "role": "active", "epoch": EPOCH, "pid": 4242,
             "since_ms": 192000, "restarts": 0, "exit": None, "differs": False, "meta": None}
    return {**entry, **more}


def migration(**more):
    entry = {"id": ID, "child": "web", "instance": 0, "from": "a", "to": "b", "phase": "copy",
             "round": 1, "bytes": 12 * 2**20, "total": 64 * 2**20, "elapsed_ms": 1250,
             "downtime_ms": None, "result": "running", "reason": None}
    return {**entry, **more}


def status(*children, **more):
    return {"node": "a", "cluster": "main", "quorum": None,
            "nodes": [{"name": "a", "state": "alive", "draining": False, "incarnation": 17,
                       "address": "tcp://127.0.0.1:7400", "weight": 1.0, "labels": [],
                       "children": 1, "version": "0.1.0"},
                      {"name": "b", "state": "suspect", "draining": True, "incarnation": 18,
                       "address": None, "weight": 1.0, "labels": [], "children": 0,
                       "version": "0.1.0"}],
            "children": list(children), "migrations": [], **more}


# ---- words

WRONG = [
    ([], "no verb; see 'prochubctl --help'"),
    (["stauts"], "unknown verb 'stauts', did you mean 'status'?"),
    (["xyzzy"], "unknown verb 'xyzzy'; see 'prochubctl --help'"),
    (["--jsno", "status"], "unknown option '--jsno', did you mean '--json'?"),
    (["status", "-x"], "unknown option '-x'; see 'prochubctl --help'"),
    (["status", "--json=yes"], "--json takes no value"),
    (["status", "--socket"], "--socket needs a value: PATH"),
    (["status", "--socket="], "--socket: PATH is empty"),
    (["status", "--color", "red"], "--color: expected auto|always|never, not 'red'"),
    (["status", "--timeout=10"],
     "--timeout: '10' is not a duration with a unit: 500ms, 10s, 5m, 1h"),
    (["status", "--timeout", "0s"], "--timeout: '0s' is not between 1ms and 8784h"),
    (["status", "--force"], "--force does not go with 'status'; see 'prochubctl status --help'"),
    (["status", "-f"], "--follow does not go with 'status'; see 'prochubctl status --help'"),
    (["status", "a b"], "'a b' is not the name of a child: expected NAME or NAME/INSTANCE"),
    (["status", "web/x"], "'web/x' is not the name of a child: expected NAME or NAME/INSTANCE"),
    (["status", "web/4294967296"],
     "'web/4294967296' is not the name of a child: expected NAME or NAME/INSTANCE"),
    (["nodes", "a"], "'nodes': one word too many: 'a'"),
    (["show"], "'show' needs CHILD; see 'prochubctl show --help'"),
    (["migrations", "xyz"],
     "'xyz' is not the id of a migration: expected up to 32 digits of 0-9 a-f"),
    (["start"], "'start' needs CHILD...; see 'prochubctl start --help'"),
    (["stop", ".web"], "'.web' is not the name of a child: expected NAME or NAME/INSTANCE"),
    (["restart"], "'restart' needs CHILD...; see 'prochubctl restart --help'"),
    (["move", "web"], "'move' needs CHILD NODE; see 'prochubctl move --help'"),
    (["move", "web", "a", "b"], "'move': one word too many: 'b'"),
    (["move", "web", "a/b"],
     "'a/b' is not the name of a node: expected 1 to 63 of A-Z a-z 0-9 . _ -"),
    (["drain", "a", "b"], "'drain': one word too many: 'b'"),
    (["cancel", "abc"],
     "'abc' is not the id of a migration: expected 4 to 32 digits of 0-9 a-f"),
    (["cancel", ID + "0"],
     f"'{ID}0' is not the id of a migration: expected 4 to 32 digits of 0-9 a-f"),
    (["cancel", ID, ID], f"'cancel': one word too many: '{ID}'"),
    (["cancel", "--force", ID],
     "--force does not go with 'cancel'; see 'prochubctl cancel --help'"),
    (["forget"], "'forget' needs NODE; see 'prochubctl forget --help'"),
    (["forget", "--force", "c"],
     "--force does not go with 'forget'; see 'prochubctl forget --help'"),
    (["undrain", ""],
     "'' is not the name of a node: expected 1 to 63 of A-Z a-z 0-9 . _ -"),
    (["lookup"], "'lookup' needs CHILD; see 'prochubctl lookup --help'"),
    (["wait", "web"], "'wait' needs --for=ready|stopped|moved; see 'prochubctl wait --help'"),
    (["wait", "web", "--for=done"], "--for: expected ready|stopped|moved, not 'done'"),
    (["events", "--since=yesterday"], "--since: 'yesterday' is no duration (10m), no time "
     "(2026-01-31T12:00:00Z), and no sequence number"),
    (["undrain", "--force"],
     "--force does not go with 'undrain'; see 'prochubctl undrain --help'"),
    (["status", "--cluster"], "--cluster does not go with 'status'; see 'prochubctl status --help'"),
    (["reload", "--clustre"], "unknown option '--clustre', did you mean '--cluster'?"),
    (["reload", "now"], "'reload': one word too many: 'now'"),
    (["check", "a", "b"], "'check': one word too many: 'b'"),
    (["keygen", "a", "b"], "'keygen': one word too many: 'b'"),
    (["status", "\033[31m"],
     "'\\x1b[31m' is not the name of a child: expected NAME or NAME/INSTANCE"),
]


@pytest.mark.parametrize("words,message", WRONG, ids=lambda v: v if isinstance(v, str) else None)
def test_wrong_words(words, message, tmp_path):
    done = ctl(*words, socket_path=tmp_path / "none")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"prochubctl: {message}\n")


@pytest.mark.parametrize("verb", ["top", "rebalance"])
def test_verbs_of_later_versions(verb):
    for words in ([verb], [verb, "web"], [verb, "--help"]):
        done = ctl(*words)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr == f"prochubctl: '{verb}' is not available in this version\n"


def test_help_and_version():
    done = ctl("--help")
    assert done.returncode == 0 and done.stderr == ""
    for word in ("status [CHILD...]", "move CHILD NODE", "--socket=PATH", "-f, --follow",
                 "Not in this version: top rebalance\n", "--cluster  ", "  130  "):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert ctl("-h").stdout == done.stdout
    assert ctl("--version").stdout.startswith("prochubctl 0.")


@pytest.mark.parametrize("verb", ["status", "nodes", "show", "migrations", "start", "stop",
                                  "restart", "move", "drain", "undrain", "cancel", "forget",
                                  "lookup", "wait", "events", "reload", "check", "keygen",
                                  "add", "remove", "signal"])
def test_help_of_verbs(verb):
    done = ctl(verb, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: prochubctl {verb}")
    assert "--json" in done.stdout and f"  {verb}" in ctl("--help").stdout


def test_help_names_the_options_of_a_verb():
    assert "[--for=ready|stopped|moved]" in ctl("--help", "wait").stdout
    assert "[--cluster]" in ctl("reload", "--help").stdout
    assert "--force" not in ctl("undrain", "--help").stdout
    assert "busy or never" in ctl("move", "--help").stdout
    assert "placement" in ctl("move", "--help").stdout


# ---- requests

REQUESTS = [
    (["status"], {"op": "status"}),
    (["status", "web", "room/17"], {"op": "status", "children": ["web", "room/17"]}),
    (["nodes"], {"op": "nodes"}),
    (["show", "room"], {"op": "show", "child": "room"}),
    (["show", "room/17"], {"op": "show", "child": "room", "instance": 17}),
    (["migrations"], {"op": "migrations"}),
    (["start", "a", "b/1"], {"op": "start", "children": ["a", "b/1"]}),
    (["--no-wait", "stop", "a"], {"op": "stop", "children": ["a"], "no_wait": True}),
    (["restart", "a"], {"op": "restart", "children": ["a"]}),
    (["move", "a/2", "--force", "n1"],
     {"op": "move", "child": "a", "instance": 2, "node": "n1", "force": True}),
    (["drain"], {"op": "drain"}),
    (["drain", "n1", "--no-wait"], {"op": "drain", "node": "n1", "no_wait": True}),
    (["undrain", "n1"], {"op": "undrain", "node": "n1"}),
    (["cancel", "c0ffee"], {"op": "cancel", "migration": "c0ffee"}),
    (["cancel", ID, "--no-wait"], {"op": "cancel", "migration": ID, "no_wait": True}),
    (["forget", "n1"], {"op": "forget", "node": "n1"}),
    (["forget", "n1", "--no-wait"], {"op": "forget", "node": "n1", "no_wait": True}),
    (["lookup", "--", "a"], {"op": "lookup", "child": "a"}),
    (["wait", "a", "--for", "ready", "--timeout", "2m"],
     {"op": "wait", "child": "a", "for": "ready", "timeout_ms": 120000}),
    (["wait", "a/0", "--for=moved"],
     {"op": "wait", "child": "a", "instance": 0, "for": "moved"}),
    (["events"], {"op": "events"}),
    (["events", "--since", "42"], {"op": "events", "since": 42}),
    (["events", "-f", "--since=2026-01-31T12:00:00.5+01:00"],
     {"op": "events", "follow": True, "since": "2026-01-31T12:00:00.5+01:00"}),
    (["reload"], {"op": "reload"}),
    (["reload", "--dry-run"], {"op": "reload", "dry_run": True}),
]


@pytest.mark.parametrize("words,request_", REQUESTS, ids=lambda v: " ".join(v))
def test_requests(daemon, words, request_):
    done = ask(daemon, *words, answer={})
    assert (done.returncode, done.stderr) == (0, "")
    got = dict(daemon.requests[0])
    assert isinstance(got.pop("req"), int)
    assert got == request_


def test_since_a_duration_ago(daemon):
    assert ask(daemon, "events", "--since=1h", answer={"events": []}).returncode == 0
    since = daemon.requests[0]["since"]
    ago = time.gmtime(time.time() - 3600)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", since)
    assert since[:14] in (time.strftime("%Y-%m-%dT%H:", ago),
                          time.strftime("%Y-%m-%dT%H:", time.gmtime(time.time() - 3601)))


def test_too_many_words(daemon):
    done = ask(daemon, "start", *["x" * 60] * 2000, answer={})
    assert done.returncode == 2 and daemon.requests == []
    assert done.stderr == \
        "prochubctl: start: too many words: a request has at most 65536 bytes\n"


# ---- the daemon is not there, or says no

def test_no_daemon(tmp_path):
    path = tmp_path / "none.sock"
    done = ctl("status", "--socket", path)
    assert done.returncode == 4 and done.stdout == ""
    assert done.stderr == f"prochubctl: cannot reach the daemon at {path}: " \
                          "No such file or directory (is prochubd running?)\n"


def test_nobody_listens(tmp_path):
    path = tmp_path / "old.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
    done = ctl("nodes", socket_path=path)
    assert done.returncode == 4
    assert f"{path}: Connection refused (is prochubd running?)" in done.stderr


def as_nobody(*words, env=None):
    """Another user may not search the directory of the build: the program comes as a descriptor."""
    if os.geteuid() != 0:
        pytest.skip("becomes another user")
    fd = os.open(CTL, os.O_RDONLY)
    try:
        return subprocess.run([f"/proc/self/fd/{fd}", *words], user=65534, group=65534,
                              extra_groups=[], env=env or environment(), pass_fds=[fd], text=True,
                              capture_output=True, timeout=20)
    finally:
        os.close(fd)


def test_no_permission():
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        fake = FakeDaemon(os.path.join(directory, "control.sock"))
        os.chmod(fake.path, 0o660)
        done = as_nobody("status", "--socket", fake.path)
        fake.close()
    assert done.returncode == 4
    assert done.stderr == f"prochubctl: cannot reach the daemon at {fake.path}: " \
        "Permission denied (it is for root and the members of group 'root')\n"


def test_long_path(tmp_path):
    done = ctl("status", "--socket", "/" + "x" * 107)
    assert done.returncode == 2
    assert done.stderr == "prochubctl: the path of the control socket has 108 bytes, " \
                          "at most 107 are possible\n"


def test_default_path_of_a_user():
    done = as_nobody("status", env={"XDG_RUNTIME_DIR": "/nonexistent"})
    path = "/nonexistent/prochub/control.sock"
    if os.path.exists("/run/prochub/control.sock"):
        path = "/run/prochub/control.sock"
    assert done.returncode == 4
    assert done.stderr.startswith(f"prochubctl: cannot reach the daemon at {path}: ")


def test_option_goes_before_environment(daemon, tmp_path):
    done = ctl("nodes", f"--socket={daemon.path}", socket_path=tmp_path / "none")
    assert done.returncode == 0


CODES = [("not_found", 4), ("usage", 2), ("bad_request", 2), ("timeout", 1), ("failed", 1),
         ("refused", 1), ("partly", 5), ("not_available", 1), ("something_new", 1)]


@pytest.mark.parametrize("code,exit_status", CODES)
@pytest.mark.parametrize("words", [["status", "web"], ["move", "web", "b"], ["events", "-f"]],
                         ids=lambda w: w[0])
def test_error_answers(daemon, code, exit_status, words):
    done = ask(daemon, *words, answer={"code": code, "text": "no child \x1b[1m'web'"})
    assert done.returncode == exit_status and done.stdout == ""
    assert done.stderr == "prochubctl: no child \\x1b[1m'web'\n"


def test_error_without_text_or_number(daemon):
    done = ask(daemon, "nodes", answer=[b'{"re":0,"ok":false,"code":"busy"}\n'])
    assert done.returncode == 1
    assert done.stderr == "prochubctl: nodes: the daemon answered 'busy'\n"


def test_errors_of_many_lines(daemon):
    done = ask(daemon, "reload", answer={"code": "failed", "text": "x.yaml:1:1: a (and 1 more)",
                                         "errors": ["x.yaml:1:1: a", "x.yaml:2:1: b"]})
    assert (done.returncode, done.stderr) == \
        (1, "prochubctl: x.yaml:1:1: a\nprochubctl: x.yaml:2:1: b\n")
    done = ask(daemon, "reload", answer={"code": "failed", "text": "a\nb", "errors": [1]})
    assert (done.returncode, done.stderr) == (1, "prochubctl: a\nb\n")


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b"{}\n", b'{"re":1}\n', b"\xff\n"])
def test_answers_that_are_none(daemon, line):
    done = ask(daemon, "status", answer=[line])
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"prochubctl: an answer of the daemon at {daemon.path}: ")


def test_answers_to_others_are_passed_over(daemon):
    lines = [b'{"re":77,"ok":true,"nodes":[{"name":"wrong"}]}\n', {"nodes": [{"name": "right"}]}]
    done = ask(daemon, "nodes", answer=lines)
    assert done.returncode == 0 and "right" in done.stdout and "wrong" not in done.stdout


def test_daemon_goes_away(daemon):
    def leave(request):
        raise OSError
        yield
    daemon.answer = leave
    done = ask(daemon, "status")
    assert done.returncode == 4
    assert done.stderr == f"prochubctl: status: the daemon at {daemon.path} closed the " \
                          "connection before the answer\n"


def test_timeout(daemon):
    daemon.answer = late(seconds=3)
    done = ask(daemon, "status", "--timeout=200ms")
    assert done.returncode == 1
    assert done.stderr == f"prochubctl: status: no answer from the daemon at {daemon.path} " \
                          "in 200ms\n"
    done = ask(daemon, "drain", "--timeout=200ms")
    assert done.returncode == 1 and done.stderr.endswith("in 200ms; the work goes on\n")
    daemon.answer = late({"more": True, "progress": [], "done": 0, "left": 2})
    done = ask(daemon, "drain", "--timeout=200ms")
    assert done.returncode == 1
    assert done.stderr == "prochubctl: drain: not done in 200ms; the work goes on\n"


# ---- tables

def test_status_table(daemon):
    answer = status(
        child("room", 0), child("room", 1, "stopped", ready=False, pid=None, epoch=None),
        child("web", 0, "running", ready=False, restarts=2, exit={"code": 1}, differs=True,
              since_ms=3 * 86400000 + 7200000),
        migrations=[migration(), migration(id=OTHER_ID, result="done")], quorum=True)
    done = ask(daemon, "status", answer=answer)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.rstrip() for line in done.stdout.splitlines()] == [
        "node a   cluster main   quorum yes   nodes 1 alive, 1 suspect",
        "",
        "CHILD   NODE  STATE    READY  EPOCH   PID  SINCE  RESTARTS  NOTE",
        "room/0  a     running  yes        7  4242  3m12s         0",
        "room/1  a     stopped  no         -     -  3m12s         0",
        "web     a     running  no         7  4242   3d2h         2  before: exit code 1, differs",
        "",
        "ID        CHILD  FROM  TO  PHASE/RESULT  ROUND               BYTES  ELAPSED  DOWNTIME  REASON",
        "00112233  web    a     b   copy              1  12.0M of 64.0M 18%     1.2s         -  -",
    ]
    done = ask(daemon, "status", "--no-legend")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["room/0", "room/1", "web"]


def test_status_of_one_instance_keeps_its_number(daemon):
    done = ask(daemon, "status", "room/0", answer=status(child("room", 0)))
    assert "room/0" in done.stdout


def test_status_without_children(daemon):
    done = ask(daemon, "status", answer=status(cluster=None))
    assert done.returncode == 0
    assert done.stdout == "node a   nodes 1 alive, 1 suspect\n\nno children\n"


EXITS = [({"signal": 9, "core": False}, "killed by SIGKILL"),
         ({"signal": 11, "core": True}, "killed by SIGSEGV (core dumped)"),
         ({"signal": 9, "core": False, "oom": True}, "killed by SIGKILL (out of memory)"),
         ({"signal": 64, "core": False}, "killed by signal 64"),
         ({"signal": "SIGTERM"}, "killed by signal SIGTERM"),
         ({"code": 3}, "exit code 3"), ({"unknown": True}, "ended unseen")]


@pytest.mark.parametrize("ended,text", EXITS, ids=lambda v: v if isinstance(v, str) else "")
def test_status_tells_exits(daemon, ended, text):
    done = ask(daemon, "status", answer=status(child(state="failed", exit=ended)))
    assert done.returncode == 3 and done.stdout.rstrip().endswith("  " + text)


STATES = [("running", {}, 0), ("standby", {}, 0), ("frozen", {}, 0), ("stopped", {}, 0),
          ("stopped", {"wanted": True}, 3), ("failed", {"wanted": False}, 0), ("waiting", {}, 3),
          ("starting", {}, 3), ("backoff", {}, 3), ("failed", {}, 3), ("stopping", {}, 3)]


@pytest.mark.parametrize("state,more,exit_status", STATES)
def test_status_exit(daemon, state, more, exit_status):
    answer = status(child("db"), child(state=state, **more))
    assert ask(daemon, "status", answer=answer).returncode == exit_status
    assert ask(daemon, "status", "--json", answer=answer).returncode == exit_status


def test_nodes_table(daemon):
    done = ask(daemon, "nodes", answer={k: status()[k] for k in ("node", "cluster", "nodes")})
    assert done.stdout.splitlines() == [
        "NAME  STATE    DRAINING  CHILDREN  ADDRESS               INCARNATION  VERSION",
        "a     alive    -                1  tcp://127.0.0.1:7400           17  0.1.0",
        "b     suspect  yes              0  -                              18  0.1.0",
    ]


def test_show(daemon):
    answer = {"child": "web", "spec": {"command": ["/bin/web", "-p"], "instances": 1},
              "instances": [child()], "migrations": [migration(result="aborted",
                                                               reason="busy \u202e\x9b31m")]}
    done = ask(daemon, "show", "web", answer=answer)
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[:4] == ["OPTION     VALUE", 'command    ["/bin/web","-p"]', "instances  1", ""]
    assert lines[-1].endswith("aborted           1  12.0M     1.2s         -  "
                              "busy \\u202e\\u009b31m")


def test_migrations(daemon):
    answer = {"migrations": [migration(), migration(
        id=OTHER_ID, child="room", instance=17, result="done", downtime_ms=3, reason=None)]}
    done = ask(daemon, "migrations", answer=answer)
    assert done.stdout.splitlines() == [
        "ID        CHILD    FROM  TO  PHASE/RESULT  ROUND               BYTES  ELAPSED  DOWNTIME  "
        "REASON",
        "00112233  web      a     b   copy              1  12.0M of 64.0M 18%     1.2s         -  -",
        "ff112233  room/17  a     b   done              1               12.0M     1.2s       3ms  -",
    ]
    several = {"migrations": [migration(child="room", instances=3), migration(instances=1)]}
    names = [line.split()[1] for line in ask(daemon, "migrations", answer=several).stdout.splitlines()]
    assert names == ["CHILD", "room/0", "web"]
    done = ask(daemon, "migrations", "ff112233", "--json", answer=answer)
    assert [m["id"] for m in json.loads(done.stdout)["migrations"]] == [OTHER_ID]
    done = ask(daemon, "migrations", "abc", answer=answer)
    assert (done.returncode, done.stderr) == (4, "prochubctl: no migration 'abc'\n")
    assert ask(daemon, "migrations", answer={"migrations": []}).stdout == "no migrations\n"


def test_lookup(daemon):
    answer = {"child": "web", "instances": [
        {"instance": 0, "replica": 0, "node": "a", "epoch": EPOCH, "state": "running",
         "ready": True, "role": "active", "meta": {"addr": "10.0.0.1:80"}}]}
    done = ask(daemon, "lookup", "web", answer=answer)
    assert done.stdout.splitlines() == [
        "INSTANCE  NODE  STATE    READY  EPOCH  META",
        '       0  a     running  yes        7  {"addr":"10.0.0.1:80"}']
    done = ask(daemon, "lookup", "web", answer={"child": "web", "instances": []})
    assert (done.returncode, done.stdout) == (0, "no instance can be reached now\n")


def test_strange_entries_harm_nobody(daemon):
    answer = {"node": 7, "nodes": "x", "children": [None, [], {"child": 1, "epoch": "e",
              "since_ms": -5, "state": None}, {}], "migrations": [3, {"total": "x"}]}
    assert ask(daemon, "status", answer=answer).returncode == 3


def test_nothing_is_cut_when_piped(daemon):
    text = "x" * 3000
    done = ask(daemon, "lookup", "web", env=environment(COLUMNS="40"),
               answer={"instances": [{"instance": 0, "meta": {"a": text}}]})
    assert len(done.stdout.splitlines()) == 2 and text in done.stdout


def test_colors(daemon):
    answer = status(child(), child("db", state="failed"))
    assert "\033" not in ask(daemon, "status", answer=answer).stdout
    assert "\033" not in ask(daemon, "status", "--color=never", answer=answer).stdout
    colored = ask(daemon, "status", "--color=always", answer=answer).stdout
    assert "\033[32mrunning" in colored and "\033[31mfailed" in colored
    plain = re.sub(r"\033\[[0-9;]*m", "", colored)
    assert plain == ask(daemon, "status", answer=answer).stdout


def test_names_of_terminal_tricks_are_escaped(daemon):
    evil = "\x1b]0;title\x07\n\x7f\u009b2J\u2028é"
    answer = status(child(node=evil), cluster=evil)
    done = ask(daemon, "status", answer=answer)
    shown = "\\x1b]0;title\\x07\\n\\x7f\\u009b2J\\u2028é"
    assert done.stdout.count(shown) == 2 and "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 4


# ---- JSON

def test_json_is_the_object(daemon):
    answer = status(child(meta={"z": 1, "a": "\u009b\x7fé\u202e"}), zeta=1, alpha=[1.5, True])
    done = ask(daemon, "--json", "status", answer=answer)
    assert done.stdout.count("\n") == 1 and " " not in done.stdout.replace("0.1.0", "")
    assert json.loads(done.stdout) == answer
    assert list(json.loads(done.stdout)) == list(answer)
    assert not set("\u009b\x7f\u202e") & set(done.stdout) and "é" in done.stdout


@pytest.mark.parametrize("words", [["nodes"], ["show", "a"], ["lookup", "a"], ["start", "a"],
                                   ["wait", "a", "--for=ready"], ["reload"], ["drain"],
                                   ["move", "a", "b"]], ids=lambda w: w[0])
def test_json_of_all(daemon, words):
    done = ask(daemon, *words, "--json", answer={"x": {"y": [1, None]}})
    assert (done.returncode, done.stdout) == (0, '{"x":{"y":[1,null]}}\n')


REFUSALS = [(["show", "a"], {"code": "not_found", "text": "no child"}, 4),
            (["move", "a", "b"], {"code": "failed", "text": "busy", "moved": [], "left": [
                {"child": "a", "instance": 0, "text": "busy"}], "result": "aborted"}, 1),
            (["drain"], {"code": "partly", "text": "drain: 0 moved, 1 left", "moved": [],
                         "left": [{"child": "c", "instance": 0, "text": "never"}],
                         "result": "partly", "reason": "some children are left"}, 5),
            (["stop", "a"], {"code": "not_found", "text": "no child 'a'"}, 4),
            (["reload"], {"code": "failed", "text": "x:1:1: a", "errors": ["x:1:1: a"]}, 1),
            (["wait", "a", "--for=ready"], {"code": "timeout", "text": "not within 1s"}, 1)]


@pytest.mark.parametrize("words,answer,exit_status", REFUSALS, ids=lambda v: str(v)[:20])
def test_json_of_refusals(daemon, words, answer, exit_status):
    """Programs get the whole of the last line, people the sentence."""
    done = ask(daemon, *words, "--json", answer=answer)
    assert done.returncode == exit_status and done.stdout.count("\n") == 1
    assert json.loads(done.stdout) == {"ok": False, **answer}
    assert done.stderr.startswith("prochubctl: ")
    assert ask(daemon, "migrations", "abc", "--json", answer={"migrations": []}).stdout == \
        '{"migrations":[]}\n'


def test_large_answer(daemon):
    children = [child("room", i, meta={"pad": "x" * 100}) for i in range(20000)]
    started = time.monotonic()
    done = ask(daemon, "status", "--json", answer=status(*children))
    assert len(json.loads(done.stdout)["children"]) == 20000
    done = ask(daemon, "status", "--no-legend")
    assert len(done.stdout.splitlines()) == 20000
    assert time.monotonic() - started < 20


# ---- orders

def test_start_stop(daemon):
    ok = {"child": "room", "instance": 1, "result": "started"}
    bad = {"child": "web", "instance": 0, "result": "failed", "text": "no such file"}
    done = ask(daemon, "start", "room", answer={"children": [ok]})
    assert (done.returncode, done.stdout, done.stderr) == (0, "room/1: started\n", "")
    done = ask(daemon, "start", "room", "web", answer={"children": [ok, bad]})
    assert (done.returncode, done.stdout) == (5, "room/1: started\n")
    assert done.stderr == "prochubctl: web: failed: no such file\n"
    assert ask(daemon, "stop", "web", answer={"children": [bad]}).returncode == 1
    done = ask(daemon, "stop", "web", "--json", answer={"children": [ok, bad]})
    assert done.returncode == 5 and json.loads(done.stdout) == {"children": [ok, bad]}
    assert done.stderr == "prochubctl: web: failed: no such file\n"
    # as a daemon says it
    no = {"code": "partly", "text": "start: 1 done, 1 failed: web/0: no such file",
          "children": [ok, bad]}
    done = ask(daemon, "start", "room", "web", answer=no)
    assert (done.returncode, done.stdout) == (5, "room/1: started\n")
    assert done.stderr == "prochubctl: web: failed: no such file\n"
    done = ask(daemon, "swap", "web", answer={"code": "failed", "text": "-", "children": [bad]})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "prochubctl: web: failed: no such file\n"
    done = ask(daemon, "start", "room", "web", "--json", answer=no)
    assert done.returncode == 5 and json.loads(done.stdout) == {"ok": False, **no}
    assert done.stderr == "prochubctl: web: failed: no such file\n"


@pytest.mark.parametrize("verb,done_word,taken", [
    ("start", "running", "is being started"), ("stop", "stopped", "is being stopped"),
    ("restart", "restarted", "is being restarted")])
def test_start_stop_in_plain_words(daemon, verb, done_word, taken):
    rows = [{"child": "web", "instance": 0, "result": "done"},
            {"child": "room", "instance": 0, "result": "done"},
            {"child": "room", "instance": 1, "result": "failed", "text": "x" * 300},
            {"child": "nope", "instance": None, "result": "not_found", "text": "no child 'nope'"}]
    done = ask(daemon, verb, "web", "room", "nope", answer={"children": rows})
    assert done.returncode == 5
    assert done.stdout == f"web: {done_word}\nroom/0: {done_word}\n"
    assert done.stderr == "prochubctl: room/1: failed: " + "x" * 300 + "\n" \
        "prochubctl: nope: no child 'nope'\n"
    done = ask(daemon, verb, "--no-wait", "web", answer={"children": rows[:1]})
    assert (done.returncode, done.stdout) == (0, f"web: {taken}\n")


def test_wait(daemon):
    done = ask(daemon, "wait", "room/3", "--for=ready", answer={})
    assert (done.returncode, done.stdout) == (0, "room/3: ready\n")
    done = ask(daemon, "wait", "a", "--for=ready", "--timeout=1s",
               answer={"code": "timeout", "text": "a: not ready within 1s"})
    assert done.returncode == 1


def test_reload(daemon):
    answer = {"added": ["a", {"child": "b"}], "removed": ["c"],
              "changed": [{"child": "web", "options": ["command", "env"]}], "differs": []}
    done = ask(daemon, "reload", answer=answer)
    assert done.stdout == "added: a, b\nremoved: c\nchanged: web (command, env)\n"
    done = ask(daemon, "reload", "--dry-run", answer=answer)
    assert done.stdout.startswith("would be added: a, b\n")
    assert ask(daemon, "reload", answer={"added": []}).stdout == "nothing changed\n"
    assert ask(daemon, "reload", "--dry-run").stdout == "nothing would change\n"
    answer = {"added": ["a"], "options": [{"option": "cluster.listen", "reloadable": False},
                                          {"option": "log.level", "reloadable": True},
                                          {"option": "node.weight", "reloadable": False}]}
    restart = "not in force before a restart of the daemon: cluster.listen, node.weight\n"
    done = ask(daemon, "reload", answer=answer)
    assert done.stdout == "added: a\noptions changed: log.level\n" + restart
    done = ask(daemon, "reload", "--dry-run", answer={"options": answer["options"][1:]})
    assert done.stdout == "options that would change: log.level\n" + \
        restart.replace("cluster.listen, ", "")


# ---- what is followed

def progress(phase, size, **more):
    entry = {"id": ID, "child": "room", "instance": 3, "from": "a", "to": "b", "phase": phase,
             "bytes": size, "total": 64 * 2**20, "rate": 30 * 2**20, "elapsed_ms": 400, **more}
    return {"more": True, "progress": [entry], "done": 1, "left": 2}


MOVED = {"child": "room", "instance": 3, "from": "a", "to": "b", "bytes": 64 * 2**20,
         "elapsed_ms": 2100, "downtime_ms": 3}
LINES = [progress("prepare", 0), progress("copy", 0), progress("copy", 2**20),
         progress("copy", 32 * 2**20), progress("copy", 32 * 2**20), progress("commit", 64 * 2**20)]


def test_move_piped(daemon):
    final = {"moved": [MOVED], "left": [], "result": "done"}
    done = ask(daemon, "move", "room/3", "b", answer=LINES + [final])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "room/3          a -> b          prepare    0B of 64.0M  0%  30.0M/s  400ms",
        "room/3          a -> b          copy       0B of 64.0M  0%  30.0M/s  400ms",
        "room/3          a -> b          copy       32.0M of 64.0M  50%  30.0M/s  400ms",
        "room/3          a -> b          commit     64.0M of 64.0M  100%  30.0M/s  400ms",
        "room/3: a -> b, 64.0M in 2.1s, down for 3ms",
    ]
    done = ask(daemon, "move", "room/3", "b", "--json")
    assert json.loads(done.stdout) == final
    late = {**MOVED, "text": "1 node has not confirmed the new owner: c"}
    done = ask(daemon, "move", "room/3", "b", answer={**final, "moved": [late]})
    assert done.stdout == "room/3: a -> b, 64.0M in 2.1s, down for 3ms; 1 node has not " \
                          "confirmed the new owner: c\n"


def test_drain_partly_and_aborted(daemon):
    left = {"child": "web", "instance": 0, "text": "says never"}
    final = {"moved": [MOVED], "left": [left], "result": "partly"}
    done = ask(daemon, "drain", answer=[progress("copy", 1), final])
    assert done.returncode == 5
    assert done.stderr == "prochubctl: web: left where it is: says never\n" \
                          "prochubctl: drain: 1 moved, 1 left\n"
    done = ask(daemon, "move", "web", "b", answer={"moved": [], "left": [], "result": "aborted",
                                                   "reason": "refused: busy"})
    assert (done.returncode, done.stderr) == (1, "prochubctl: move: aborted: refused: busy\n")
    assert ask(daemon, "drain", "--json", answer=final).returncode == 5


def test_all_that_are_left_are_named(daemon):
    left = [{"child": "web", "instance": 0, "text": "says never"},
            {"child": "room", "instance": 7, "text": "busy"}]
    no = {"code": "partly", "text": "drain: 1 moved, 2 left: web/0: says never", "left": left,
          "moved": [MOVED], "result": "partly", "reason": "some children are left"}
    done = ask(daemon, "drain", answer=[progress("copy", 1), no])
    assert done.returncode == 5
    assert done.stdout.splitlines()[1:] == ["room/3: a -> b, 64.0M in 2.1s, down for 3ms"]
    assert done.stderr == "prochubctl: web: left where it is: says never\n" \
        "prochubctl: room/7: left where it is: busy\n" \
        "prochubctl: drain: 1 moved, 2 left\n"
    done = ask(daemon, "move", "web", "b", answer={**no, "code": "failed", "moved": [],
                                                   "left": left[:1]})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "prochubctl: web: left where it is: says never\n"


def test_nothing_moved_where_it_is_there_already(daemon):
    there = [{"child": "room", "instance": i, "text": "it is there already"} for i in (0, 5)]
    answer = {"moved": there, "left": [], "result": "done"}
    done = ask(daemon, "move", "room", "a", answer=answer)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "room/0: it is there already\nroom/5: it is there already\n"
    assert ask(daemon, "move", "room", "a", "--no-wait", answer=answer).stdout == done.stdout
    done = ask(daemon, "move", "room", "b", answer={
        **answer, "code": "failed", "text": "busy", "moved": [*there, MOVED],
        "left": [{"child": "room", "instance": 4, "text": "busy"}]})
    assert done.stderr.endswith("prochubctl: move: 1 moved, 1 left\n")


def test_no_wait_and_nothing_to_do(daemon):
    done = ask(daemon, "drain", "--no-wait", answer={"moved": [], "left": [{"child": "web"}]})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "drain: under way; see 'prochubctl migrations'\n"
    done = ask(daemon, "undrain", answer={"moved": [], "left": [], "result": "done"})
    assert done.stdout == "undrain: done\n"


def test_cancel(daemon):
    aborted = migration(result="aborted", reason="cancelled by an operator")
    done = ask(daemon, "cancel", ID[:8], answer=aborted)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "web: a -> b: aborted: cancelled by an operator\n"
    assert json.loads(ask(daemon, "cancel", ID, "--json", answer=aborted).stdout) == aborted
    done = ask(daemon, "cancel", ID, "--no-wait", answer=migration())
    assert done.stdout == "cancel: under way; see 'prochubctl migrations'\n"
    for code, status, text in (("refused", 1, "web/0: it is committed"), ("not_found", 4, "none"),
                               ("failed", 1, "the ids of 2 migrations begin so")):
        done = ask(daemon, "cancel", ID, answer={"code": code, "text": text, **migration()})
        assert (done.returncode, done.stdout, done.stderr) == \
            (status, "", f"prochubctl: {text}\n")


def test_forget(daemon):
    done = ask(daemon, "forget", "c", answer={"node": "c"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "c: forgotten\n", "")
    assert json.loads(ask(daemon, "forget", "c", "--json").stdout) == {"node": "c"}
    assert ask(daemon, "forget", "c", "--no-wait").stdout == "c: is being forgotten\n"
    for code, status in (("refused", 1), ("not_found", 4), ("failed", 1)):
        done = ask(daemon, "forget", "c", answer={"code": code, "text": "node c lives"})
        assert (done.returncode, done.stderr) == (status, "prochubctl: node c lives\n")


def start(daemon, *words, **more):
    # jobs in the background have SIGINT ignored and hand that on
    return subprocess.Popen([CTL, *words], env=environment(PROCHUB_CONTROL=daemon.path,
                                                           TERM="xterm"),
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                            **more)


def test_interrupt_detaches(daemon):
    daemon.answer = late(progress("copy", 1))
    for words in (["drain"], ["stop", "web"], ["cancel", ID], ["forget", "b"]):
        program = start(daemon, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(0.4)
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=3)
        assert program.returncode == 130
        assert err == f"prochubctl: detached; the {words[0]} goes on, see " \
                      "'prochubctl migrations' and 'prochubctl status'\n"


def on_terminal(daemon, *words):
    """What the program writes to a terminal of 80 columns, and its exit status."""
    master, slave = pty.openpty()
    program = start(daemon, *words, stdout=slave, stderr=slave, stdin=slave)
    os.close(slave)
    written = b""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and select.select([master], [], [], 10)[0]:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        written += piece
    os.close(master)
    return written.decode(), program.wait(5)


def test_move_on_a_terminal(daemon):
    daemon.answer = lambda request: LINES + [{"moved": [MOVED], "left": [], "result": "done"}]
    written, exit_status = on_terminal(daemon, "move", "room/3", "b")
    assert exit_status == 0
    assert written.count("\033[1A\r\033[J") == len(LINES)
    assert "50%  30.0M/s" in written and "1 done, 2 left" in written
    assert written.endswith("\033[Jroom/3: a -> b, 64.0M in 2.1s, down for 3ms\r\n")


def test_table_on_a_terminal_is_coloured(daemon):
    daemon.answer = lambda request: [status(child())]
    assert "\033[32mrunning" in on_terminal(daemon, "status")[0]


# ---- events

EVENT = {"event": "child_ready", "time": "2026-01-31T12:00:00Z", "node": "a", "seq": 4,
         "child": "web", "text": "\u009bx"}


def test_events(daemon):
    daemon.answer = lambda request: [{"more": True, **EVENT}, {"more": True, **EVENT, "seq": 5}, {}]
    done = ask(daemon, "events")
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == [4, 5]
    assert json.loads(done.stdout.splitlines()[0]) == EVENT and "\\u009b" in done.stdout


def test_events_follow(daemon):
    daemon.answer = late({"more": True, **EVENT})
    program = start(daemon, "events", "-f", stdout=subprocess.PIPE, text=True)
    assert json.loads(program.stdout.readline()) == EVENT
    program.send_signal(signal.SIGINT)
    assert program.wait(3) == -signal.SIGINT
    done = ask(daemon, "events", "-f", "--timeout=300ms")
    assert (done.returncode, done.stderr) == (0, "") and json.loads(done.stdout) == EVENT


def test_readers_that_go_away(daemon):
    def many(request):
        while True:
            yield {"more": True, **EVENT}
    daemon.answer = many
    program = start(daemon, "events", "-f", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    program.stdout.readline()
    program.stdout.close()
    assert program.wait(5) == 0 and program.stderr.read() == b""
    daemon.answer = lambda request: [status(*[child("room", i) for i in range(3000)])]
    program = start(daemon, "status", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    program.stdout.close()
    assert program.wait(5) == 0 and program.stderr.read() == b""


def test_full_disk(daemon):
    daemon.answer = lambda request: [status()]
    with open("/dev/full", "w") as full:
        program = start(daemon, "status", stdout=full, stderr=subprocess.PIPE, text=True)
        assert program.wait(5) == 1
    assert program.stderr.read() == \
        "prochubctl: cannot write to standard output: No space left on device\n"


# ---- local verbs

def test_keygen(tmp_path):
    done = ctl("keygen")
    assert re.fullmatch(r"[0-9a-f]{64}\n", done.stdout) and done.returncode == 0
    assert ctl("keygen").stdout != done.stdout
    path = tmp_path / "cluster.key"
    done = ctl("keygen", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = path.read_text()
    assert re.fullmatch(r"[0-9a-f]{64}\n", key)
    done = ctl("keygen", path)
    assert done.returncode == 1 and path.read_text() == key
    assert done.stderr == f"prochubctl: keygen: {path} exists and is left as it is\n"
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert ctl("keygen", tmp_path / "link").returncode == 1
    assert not (tmp_path / "elsewhere").exists()
    done = ctl("keygen", tmp_path / "no" / "key")
    assert done.returncode == 1 and "No such file or directory" in done.stderr


@pytest.fixture
def ctl_copy(tmp_path):
    """prochubctl in a directory where a prochubd of the test can stand beside it."""
    copy = tmp_path / "bin" / "prochubctl"
    copy.parent.mkdir()
    with open(CTL, "rb") as source:
        copy.write_bytes(source.read())
    copy.chmod(0o755)
    return copy


def script(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


@pytest.mark.parametrize("exit_status", [0, 2])
def test_check(ctl_copy, tmp_path, exit_status):
    body = f'echo "{{}}: $*"; echo wrong >&2; exit {exit_status}\n'
    script(tmp_path / "path" / "prochubd", body.format("path"))
    env = environment(PATH=f"{tmp_path}/path:{os.environ['PATH']}")
    for place in ("path", "beside"):
        if place == "beside":
            script(ctl_copy.parent / "prochubd", body.format("beside"))
        for words in ([], ["-x y.yaml"], ["/etc/x.yaml"]):
            done = subprocess.run([ctl_copy, "check", "--", *words], env=env, text=True,
                                  capture_output=True, timeout=20)
            args = " ".join(["-t"] + (["-c", *words] if words else []))
            assert (done.returncode, done.stdout, done.stderr) == \
                (exit_status, f"{place}: {args}\n", "wrong\n")


@pytest.mark.parametrize("exit_status", [0, 2])
def test_check_json(ctl_copy, exit_status):
    lines = 'for i in 1 2; do echo "prochubd: a.yaml:$i:1: wrong: x" >&2; done\n'
    script(ctl_copy.parent / "prochubd", f"echo said\n{lines if exit_status else ''}"
           f"exit {exit_status}\n")
    for words in ([], ["a.yaml"], [b"\xff.yaml"]):
        done = subprocess.run([ctl_copy, "check", "--json", "--", *words], env=environment(),
                              text=True, capture_output=True, timeout=20)
        errors = ["a.yaml:1:1: wrong: x", "a.yaml:2:1: wrong: x"]
        assert done.returncode == exit_status
        assert done.stderr == "".join(f"prochubd: {e}\n" for e in errors if exit_status)
        file = words[0] if words and words[0] == "a.yaml" else "\\xff.yaml" if words else None
        assert json.loads(done.stdout) == (
            {"ok": False, "file": file, "code": "failed", "text": errors[0], "errors": errors}
            if exit_status else {"ok": True, "file": file})


def test_keygen_json(tmp_path):
    made = json.loads(ctl("keygen", "--json").stdout)
    assert made["ok"] and re.fullmatch("[0-9a-f]{64}", made["key"])
    path = tmp_path / "k"
    done = ctl("keygen", path, "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"ok": True, "file": str(path)})
    done = ctl("keygen", path, "--json")
    text = f"keygen: {path} exists and is left as it is"
    assert (done.returncode, done.stderr) == (1, f"prochubctl: {text}\n")
    assert json.loads(done.stdout) == {
        "ok": False, "file": str(path), "code": "failed", "text": text}


def test_check_without_daemon(ctl_copy):
    done = subprocess.run([ctl_copy, "check", "--json"], env=environment(PATH="/nonexistent"),
                          text=True, capture_output=True, timeout=20)
    assert done.returncode == 1 and "cannot run prochubd" in json.loads(done.stdout)["text"]
    done = subprocess.run([ctl_copy, "check"], env=environment(PATH="/nonexistent"), text=True,
                          capture_output=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr == "prochubctl: check: cannot run prochubd, looked for beside prochubctl " \
                          "and in PATH: No such file or directory\n"
