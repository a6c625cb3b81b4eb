"""The configuration as people meet it: -t, -T, errors with places, reload, lock, key, no file."""

import json
import os
import re
import signal
import subprocess

import pytest

import harness
from raw import sh, sleeper


def prochubd(*args, env=None, timeout=10, **more):
    return subprocess.run([harness.PROCHUBD, *args], capture_output=True, text=True,
                          timeout=timeout, env={"PATH": os.environ["PATH"], **(env or {})}, **more)


@pytest.fixture
def check(tmp_path):
    """check(text) runs prochubd -t over it."""
    def run(text, *args):
        file = tmp_path / "prochub.yaml"
        file.write_text(text)
        return prochubd(*(args or ("-t",)), "-c", str(file))
    return run


GOOD = """\
node: {name: x, run_dir: /tmp/x, state_dir: /tmp/y}
cluster: {name: main, listen: tcp://127.0.0.1:7400, peers: [tcp://127.0.0.2:7400]}
children:
  web:
    command: [sleep, "1"]
    stop_timeout: 1500ms
    restart: {policy: transient, jitter: 10%}
    migration: {max_state: 1M}
"""

BAD = {
    "unknown option": ("children:\n  web:\n    command: [a]\n    restrat: {}\n",
                       r":4:5: children\.web: unknown option 'restrat', did you mean 'restart'\?"),
    "nearest": ("children:\n  web:\n    command: [a]\n    migration: {retenton: 1s}\n",
                r":4:17: children\.web\.migration: unknown option 'retenton', "
                r"did you mean 'retention'\?"),
    "value": ("children:\n  web:\n    command: [a]\n    stop_timeout: soon\n", r":4:19: "),
    "choice": ("children:\n  web:\n    command: [a]\n    restart: {policy: transiennt}\n",
               r":4:23: .*transient"),
    "no command": ("children:\n  web: {}\n", r":2:.*command"),
    "name": ("children:\n  'we b': {command: [a]}\n", r":2:3: "),
    "twice": ("children:\n  web: {command: [a]}\n  web: {command: [a]}\n", r":3:3: .*2:3"),
    "syntax": ("children: [\n", r":\d+:\d+: "),
    "variable": ("node:\n  name: ${NOT_SET_ANYWHERE}\n", r":2:9: .*NOT_SET_ANYWHERE"),
    "later: http": ("http: {listen: 127.0.0.1:7480}\n", r":1:.*not available in this version"),
    "probe": ("children:\n  web:\n    command: [a]\n    ready: http:https://[::1]/\n",
              r":4:12: children\.web\.ready: 'https://\[::1\]/' is not http://"),
    "after itself": ("children:\n  web:\n    command: [a]\n    after: [web]\n",
                     r":4:5: children.web.after: .*: web -> web"),
    "later: swap": ("children:\n  web:\n    command: [a]\n    migration: {strategy: cold-swap}\n",
                    r":4:.*not available in this version"),
    "no key": ("cluster: {listen: tcp://10.0.0.1:7400}\n", r":1:.*key"),
    "key file": ("cluster:\n  name: x\n  listen: tcp://10.0.0.1:7400\n  key_file: /nonexistent\n",
                 r":4:13: cluster\.key_file: /nonexistent: No such file or directory"),
    "long path": ("node: {run_dir: /tmp/" + "x" * 120 + "}\n", r"107"),
}


def test_good_file(check):
    result = check(GOOD)
    assert result.returncode == 0, result


@pytest.mark.parametrize("kind", BAD)
def test_bad_file_is_refused_with_its_place(check, kind):
    text, place = BAD[kind]
    for args in (("-t",), ("-T",), ()):
        result = check(text, *args) if args else check(text, *["-t"])
        assert result.returncode == 2, result
        assert re.search(r"prochub\.yaml" + place if place.startswith(":") else place,
                         result.stderr + result.stdout), result


def test_daemon_refuses_what_check_refuses(cluster):
    node = cluster.node("a", alone=True)
    node.write("children:\n  web: {comand: [a]}\n")
    result = prochubd("-c", node.file)
    assert result.returncode == 2 and "did you mean 'command'?" in result.stderr
    assert prochubd("--nonsense").returncode == 2
    assert prochubd("-t", "-c", cluster.dir + "/none.yaml").returncode == 2
    assert prochubd("-t", "-c", cluster.dir).returncode == 2
    assert prochubd("-V").returncode == 0


def test_all_errors_in_one_run(check):
    result = check("node: {nam: x}\ncluster: {setle: 1s, key_file: /nonexistent}\n"
                   "children:\n  web: {command: 3}\n")
    assert result.returncode == 2
    for place in (":1:8:", ":2:11:", ":2:32: cluster.key_file: /nonexistent: ", ":4:"):
        assert place in result.stderr + result.stdout


def test_json_as_programs_write_it(check):
    """json.dumps writes a character beyond \\uffff as two escapes."""
    config = {"children": {"w": {"command": ["/bin/echo", "\U0001f600 \u00e9"]}}}
    for indent in (None, 1):
        printed = check(json.dumps(config, indent=indent), "-T")
        assert printed.returncode == 0 and "\U0001f600 \u00e9" in printed.stdout, printed
    text = json.dumps(config).replace("\\ude00", "")
    result = check(text)
    place = f":1:{text.index('ud83d')}: not YAML: "
    assert result.returncode == 2 and place in result.stderr, result


def test_effective_configuration_reads_again(check):
    printed = check(GOOD, "-T")
    assert printed.returncode == 0
    assert "prochub.yaml:6" in printed.stdout  # the origin of stop_timeout
    again = check(printed.stdout, "-T")
    assert again.returncode == 0, again

    def values(text):
        return [re.sub(r"\s*#.*", "", line) for line in text.splitlines()
                if not line.lstrip().startswith("#")]
    assert values(again.stdout) == values(printed.stdout)


def test_check_of_prochubctl(tmp_path):
    file = tmp_path / "c.yaml"
    for text, code in ((GOOD, 0), (BAD["twice"][0], 2)):
        file.write_text(text)
        result = subprocess.run([harness.CTL, "check", str(file)], capture_output=True, text=True,
                                timeout=10, env={"PATH": os.environ["PATH"]})
        assert result.returncode == code, result


def test_ordinary_user_without_a_file(cluster):
    home = cluster.dir + "/home"
    os.mkdir(home)
    os.chown(home, 65534, 65534)
    env = {"PATH": os.environ["PATH"], "HOME": home, "XDG_RUNTIME_DIR": home,
           "XDG_STATE_HOME": home + "/state", "PROCHUB_E2E": cluster.dir}
    if os.path.exists("/etc/prochub/prochub.yaml"):
        pytest.fail("this machine has a configuration of its own")
    process = subprocess.Popen([harness.PROCHUBD], env=env, user=65534, group=65534,
                               extra_groups=[], cwd="/", stderr=subprocess.PIPE, text=True)
    try:
        def answers():
            assert process.poll() is None, process.stderr.read()
            try:
                with harness.Control(home + "/prochub/control.sock") as control:
                    return control.call("status")
            except OSError:
                return None
        status = harness.wait(answers, "it answers")
        assert len(status["nodes"]) == 1 and status["children"] == []
        found = subprocess.run([harness.CTL, "status", "--json"], env=env, user=65534,
                               group=65534, extra_groups=[], cwd="/", capture_output=True,
                               text=True, timeout=10)
        assert found.returncode == 0, found
    finally:
        process.terminate()
        assert process.wait(10) == 0
        process.stderr.close()


def test_ordinary_user_is_refused_a_user(cluster):
    path = cluster.dir + "/c.yaml"
    with open(path, "w") as f:
        f.write(f"node: {{run_dir: {cluster.dir}/r, state_dir: {cluster.dir}/s}}\n"
                "children:\n  web: {command: [sleep, '1'], user: root}\n")
    result = prochubd("-t", "-c", path, user=65534, group=65534, extra_groups=[], cwd="/")
    assert result.returncode == 2 and "user" in result.stderr, result


def test_second_daemon_is_refused(solo):
    node = solo({"web": sleeper()})
    pid = node.wait_running("web")["pid"]
    result = prochubd("-c", node.file)
    assert result.returncode == 1 and result.stderr, result
    assert node.wait_running("web")["pid"] == pid
    assert len(node.cluster.workers("web")) == 1


def test_reload(solo):
    node = solo({"same": sleeper(), "gone": sleeper(), "new-args": sleeper()})
    pids = {name: node.wait_running(name)["pid"] for name in ("same", "gone", "new-args")}
    children = node.config["children"]
    del children["gone"]
    children["fresh"] = sleeper()
    children["new-args"] = {"command": ["/bin/sleep", "999999"]}
    node.write()

    changes = node.call("reload", dry_run=True)
    assert [c["child"] for c in changes["added"]] == ["fresh"]
    assert [c["child"] for c in changes["removed"]] == ["gone"]
    assert [c["child"] for c in changes["changed"]] == ["new-args"]
    assert node.child("gone")["pid"] == pids["gone"] and node.child("fresh") is None

    node.process.send_signal(signal.SIGHUP)
    node.wait_event("config_reloaded")
    node.wait_running("fresh")
    node.wait_running("new-args", pid=lambda p: p != pids["new-args"])
    harness.wait(lambda: not harness.alive(pids["gone"]) and not node.child("gone"), "gone")
    assert node.wait_running("same")["pid"] == pids["same"]
    kinds = {e["event"]: e.get("child") for e in node.events()}
    assert kinds["child_added"] == "fresh" and kinds["child_removed"] == "gone"
    assert kinds["child_changed"] == "new-args"


def test_reload_tells_what_only_a_restart_brings(solo):
    node = solo({"same": sleeper()}, cluster={"settle": "1s"})
    node.wait_running("same")
    assert node.ctl("reload").stdout == "nothing changed\n"
    node.config["node"]["weight"] = 2.5
    node.config["log"]["level"] = "debug"
    node.config["children"]["fresh"] = sleeper()
    node.write()
    restart = "not in force before a restart of the daemon: node.weight\n"
    result = node.ctl("reload", "--dry-run")
    assert result.stdout == "would be added: fresh\noptions that would change: log.level\n" + restart
    result = node.ctl("reload")
    assert result.stdout == "added: fresh\noptions changed: log.level\n" + restart, result
    assert "reload: node.weight changed: only a restart of the daemon brings it" in node.log()
    for _ in range(2):  # against what is in force, not against the last file
        answer = node.call("reload")
        assert answer["options"] == [{"option": "node.weight", "reloadable": False}]
        assert answer["added"] == answer["removed"] == answer["changed"] == []
        assert node.ctl("reload").stdout == restart
    assert node.status()["nodes"][0]["weight"] == 1.0
    del node.config["node"]["weight"]
    node.write()
    assert node.ctl("reload").stdout == "nothing changed\n"


def test_reload_tells_of_other_keys(cluster):
    """The keys of a file are those of the start: who changes them is not told that all is done."""
    old, new = "11" * 32, "22" * 32
    path = os.path.join(cluster.dir, "key")

    def write(*keys):
        with open(path, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
            file.write("\n".join(keys) + "\n")
    write(old)
    node = cluster.node("a", {"same": sleeper()}, cluster={"key_file": path, "peers": []}).start()
    node.wait_running("same")
    assert node.ctl("reload").stdout == "nothing changed\n"
    restart = "not in force before a restart of the daemon: cluster.key_file\n"
    for keys in ((old, new), (new, old), (new,)):
        write(*keys)
        assert node.ctl("reload", "--dry-run").stdout == node.ctl("reload").stdout == restart
    write(old)
    assert node.ctl("reload").stdout == "nothing changed\n"


def test_bad_reload_changes_nothing(solo):
    node = solo({"same": sleeper()})
    pid = node.wait_running("same")["pid"]
    node.write("children:\n  same: {command: [a]}\n  x: {comand: [b]}\n"
               "cluster: {key_file: /nonexistent}\n")
    for words in (["reload", "--dry-run"], ["reload"], ["reload", "--json"]):
        assert bool(node.events("config_rejected")) == (words[-1] == "--json")
        result = node.ctl(*words)
        assert result.returncode == 1, result
        errors = result.stderr.splitlines()
        if words[-1] == "--json":
            answer = json.loads(result.stdout)
            assert answer["text"] == answer["errors"][0] + " (and 2 more)"
            errors = ["prochubctl: " + e for e in answer["errors"]]
        assert len(errors) == 3 and all(e.startswith("prochubctl: " + node.file) for e in errors)
        for error, place in zip(errors, (":3:3: ", ":3:7: ", ":4:21: cluster.key_file: ")):
            assert place in error, errors
    node.process.send_signal(signal.SIGHUP)
    harness.wait(lambda: len(node.events("config_rejected")) == 3, "the third")
    assert node.events("config_rejected")[0]["text"].endswith(" (and 2 more)")
    assert all(e[12:] in node.log() for e in errors)
    assert node.wait_running("same")["pid"] == pid and node.child("x") is None


def test_reload_reads_commands_of_instances(solo):
    node = solo({"room": sh("exec sleep 1000%i", instances=3)})
    for i in range(3):
        node.wait_running("room", i)
    node.config["children"]["room"]["instances"] = 2
    node.write()
    assert node.ctl("reload").returncode == 0
    harness.wait(lambda: node.child("room", 2) is None, "the third is gone")
    assert not node.cluster.workers("room", 2)
    assert node.wait_running("room", 1)


def test_keys(cluster):
    files = []
    for name in ("one", "two"):
        files.append(f"{cluster.dir}/{name}.key")
        for code in (0, 1):  # never over a file
            result = subprocess.run([harness.CTL, "keygen", files[-1]], capture_output=True)
            assert (result.returncode != 0) == bool(code), result
        assert os.stat(files[-1]).st_mode & 0o777 == 0o600
    a = cluster.node("a", {"web": sleeper()}, cluster={"key_file": files[0]})
    b = cluster.node("b", {"web": sleeper()}, cluster={"key_file": files[0]})
    stranger = cluster.node("c", {"own": sleeper()}, cluster={"key_file": files[1]})
    for node in (a, b, stranger):
        node.start(ready=False)
    for node in (a, b, stranger):
        node.wait_up()
    harness.wait(lambda: {n["name"] for n in a.status()["nodes"] if n["state"] == "alive"}
                 == {"a", "b"}, "the two see each other")
    harness.wait(lambda: a.events("bus_auth_failed") or b.events("bus_auth_failed"),
                 "the stranger is noticed")
    stranger.wait_running("own")
    assert [n["name"] for n in stranger.status()["nodes"]] == ["c"]
    assert "c" not in {n["name"] for n in b.status()["nodes"]}


def test_key_that_others_can_read_is_refused(cluster):
    key = cluster.dir + "/k"
    with open(key, "w") as f:
        f.write("ab" * 32 + "\n")
    os.chmod(key, 0o644)
    node = cluster.node("a", cluster={"key_file": key})
    node.write()
    result = prochubd("-c", node.file)
    assert result.returncode in (1, 2) and "0600" in result.stderr, result
