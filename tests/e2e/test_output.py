"""What children write: to files, to the journal, to the daemon's own output; floods, full disks,
and daemons that are killed in the middle."""

import glob
import gzip
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time

import pytest

import harness
from harness import wait

# n numbered lines as fast as they are taken; then it waits for its end
FLOOD = ("import os,sys,time\n"
         "n, size = int(sys.argv[1]), int(sys.argv[2])\n"
         "for at in range(0, n, 50):\n"
         "    data = b''.join(b'line %d %s\\n' % (i, b'x' * size) for i in range(at, at + 50))\n"
         "    while data: data = data[os.write(1, data):]\n"
         "open(sys.argv[3], 'w').close()\n"
         "time.sleep(600)\n")


def python(code, *args):
    command = [harness.PYTHON, "-S", "-c", code.replace("%", "%%"), *map(str, args)]
    return {"command": command, "stop_timeout": "1s"}


def shell(text, **more):
    return {"command": ["/bin/sh", "-c", text], "stop_timeout": "1s", **more}


def read(path):
    with open(path, "rb") as f:
        return f.read().decode(errors="replace")


def numbers(text):
    return [int(n) for n in re.findall(r"^line (\d+)", text, re.M)]


def files_of(path):
    """The text of all files of an output, oldest first."""
    def number(name):
        found = re.search(r"\.(\d+)(\.gz)?$", name)
        return -int(found.group(1)) if found else 0
    parts = []
    for name in sorted(glob.glob(path + ".*"), key=number) + [path]:
        with (gzip.open if name.endswith(".gz") else open)(name, "rb") as f:
            parts.append(f.read().decode())
    return "".join(parts)


def fifos(node):
    return os.listdir(node.run_dir + "/fifo")


# ---- where it goes

def test_file_with_templates(solo, cluster):
    path = cluster.dir + "/%c-%i-%n.log"
    node = solo({"web": {**shell("echo out; echo err >&2; sleep 600"), "instances": 2,
                         "log": {"to": "file", "path": path}}})
    for i in range(2):
        name = f"{cluster.dir}/web-{i}-a.log"
        wait(lambda: os.path.exists(name) and read(name) == "out\nerr\n", name)
        assert os.stat(name).st_mode & 0o777 == 0o640
    assert len(fifos(node)) == 2
    node.call("stop", child="web")
    wait(lambda: not fifos(node), "no FIFO is left")


def test_daemons_own_output(cluster):
    """As it is, in whole lines; output and error apart where the daemon's are."""
    node = cluster.node("a", {
        "one": shell("for i in 1 2 3; do echo one $i; echo bad $i >&2; done; sleep 600")},
        alone=True)
    node.write()
    with open(cluster.dir + "/out", "wb") as out, open(cluster.dir + "/err", "wb") as err:
        node.process = subprocess.Popen(
            [harness.PROCHUBD, "-c", node.file], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            env={"PATH": os.environ["PATH"], "PROCHUB_E2E": cluster.dir})
    node.wait_up()
    wait(lambda: read(cluster.dir + "/out") == "one 1\none 2\none 3\n", "its output")
    wait(lambda: "bad 1\nbad 2\nbad 3\n" in read(cluster.dir + "/err"), "its errors")


def test_output_that_is_not_read(cluster):
    """As where `less` waits for a key, or the journal for its disk: the daemon goes on, and so does its log later."""
    node = cluster.node("a", {"loud": shell("exec yes"), "one": shell("exec sleep 600")}, alone=True)
    node.write()
    ours, its = os.pipe()
    node.process = subprocess.Popen(
        [harness.PROCHUBD, "-c", node.file], stdin=subprocess.DEVNULL, stdout=its, stderr=its,
        env={"PATH": os.environ["PATH"], "PROCHUB_E2E": cluster.dir})
    wait(lambda: not select.select([], [its], [], 0)[1], "it is full")
    os.close(its)
    node.wait_up()
    for _ in range(20):
        node.call("restart", child="one", timeout=5)
        node.wait_running("one")
    node.call("stop", child="loud", timeout=5)
    got = b""
    while b"child_stopped loud" not in got:
        assert select.select([ours], [], [], 10)[0], got[-2000:]
        got += os.read(ours, 1 << 16)
    assert got.count(b"child_ready one") == 21
    node.stop()
    os.close(ours)


def test_order_of_output_and_error(solo):
    node = solo({"one": shell("for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done; "
                              "sleep 600")})
    wait(lambda: "err 5" in node.log(), "its output")
    found = re.findall(r"^(out|err) (\d)$", node.log(), re.M)
    assert found == [(w, str(i)) for i in range(1, 6) for w in ("out", "err")]


def test_nowhere(solo):
    node = solo({"one": {**shell("echo hidden; sleep 600"), "log": {"to": "null"}}})
    pid = node.wait_running("one")["pid"]
    assert os.readlink(f"/proc/{pid}/fd/1") == "/dev/null"
    assert not fifos(node) and "hidden" not in node.log()


def test_child_opens_its_output_anew(solo, cluster):
    """/dev/stdout and /dev/stderr are files that its user may open."""
    path = cluster.dir + "/log"
    child = {**shell("echo one >/dev/stdout; echo two >/dev/stderr; sleep 600"),
             "log": {"to": "file", "path": path}}
    if os.geteuid() == 0:
        child["user"] = "nobody"
    solo({"web": child})
    wait(lambda: os.path.exists(path) and read(path) == "one\ntwo\n", lambda: read(path))


def test_file_that_cannot_be_opened(solo, cluster):
    """The start fails, with the reason; nothing runs whose output is lost."""
    node = solo({"web": {**shell("sleep 600"), "restart": {"backoff": "10s"},
                         "log": {"to": "file", "path": cluster.dir + "/none/log"}}})
    wait(lambda: "log.path: cannot open" in node.log(), node.log)
    assert node.child("web")["state"] != "running"
    assert not fifos(node)


def test_check_notes_what_this_machine_lacks(cluster):
    node = cluster.node("a", {
        "web": {**shell("x"), "log": {"to": "file", "path": cluster.dir + "/none/%i"}},
        "ok": {**shell("x"), "log": {"to": "file", "path": cluster.dir + "/ok"}},
        "api": {**shell("x"), "log": {"to": "journal"}}}, alone=True)
    node.write()
    done = subprocess.run([harness.PROCHUBD, "-t", "-c", node.file], capture_output=True,
                          text=True, env={"PROCHUB_JOURNAL_SOCKET": cluster.dir + "/nobody"})
    assert done.returncode == 0
    assert f"note: children.web.log.path: nothing can be written in '{cluster.dir}/none'" \
        in done.stdout
    assert f"note: children.api.log.to: no journal at {cluster.dir}/nobody" in done.stdout
    assert "children.ok" not in done.stdout


class Journal:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.settimeout(10)

    def entry(self):
        data = self.socket.recv(1 << 20)
        head, _, message = data.partition(b"MESSAGE\n")
        found = dict(l.split("=", 1) for l in head.decode().splitlines())
        found["MESSAGE"] = message[8:-1].decode()
        return found


def test_journal(cluster):
    journal = Journal(cluster.dir + "/journal")
    node = cluster.node("a", {"web": {**shell("echo hello; echo '<4>careful'; sleep 600"),
                                      "log": {"to": "journal"}}}, alone=True)
    node.env = {"PROCHUB_JOURNAL_SOCKET": cluster.dir + "/journal"}
    node.start()
    assert journal.entry() == {"MESSAGE": "hello", "PRIORITY": "6", "SYSLOG_IDENTIFIER": "web",
                               "PROCHUB_CHILD": "web", "PROCHUB_INSTANCE": "0",
                               "PROCHUB_NODE": "a"}
    assert journal.entry()["PRIORITY"] == "4"


@pytest.mark.parametrize("own", [True, False], ids=["journal", "another-output"])
def test_events_in_the_journal(cluster, own):
    """Where the daemon's output is the journal, as JOURNAL_STREAM says, events have fields there."""
    journal = Journal(cluster.dir + "/journal")
    node = cluster.node("a", {"web": shell("exec sleep 600")}, alone=True)
    open(node.output, "w").close()
    st = os.stat(node.output)
    node.env = {"PROCHUB_JOURNAL_SOCKET": cluster.dir + "/journal",
                "JOURNAL_STREAM": f"{st.st_dev}:{st.st_ino + (not own)}"}
    node.start()
    node.wait_running("web")
    if not own:
        assert "prochubd: info: child_ready web/0" in node.log()
        return
    while (entry := journal.entry())["PROCHUB_EVENT"] != "child_ready":
        assert entry["PROCHUB_NODE"] == "a"
    pid = node.status()["children"][0]["pid"]
    assert entry == {"MESSAGE": f"child_ready web/0, pid {pid}, epoch 1", "PRIORITY": "6",
                     "SYSLOG_IDENTIFIER": "prochubd", "PROCHUB_EVENT": "child_ready",
                     "PROCHUB_NODE": "a", "PROCHUB_CHILD": "web", "PROCHUB_INSTANCE": "0"}
    assert "child_ready" not in node.log() and "<6>node a is ready" in node.log()


def test_no_journal(cluster):
    node = cluster.node("a", {"web": {**shell("echo hello; sleep 600"),
                                      "log": {"to": "journal"}}}, alone=True)
    node.env = {"PROCHUB_JOURNAL_SOCKET": cluster.dir + "/none"}
    node.start()
    wait(lambda: "\nhello\n" in node.log(), node.log)
    assert "web/0: log.to: no journal at " in node.log()


# ---- files that grow

def test_rotation_and_compression(solo, cluster):
    path = cluster.dir + "/log"
    done = cluster.dir + "/done"
    solo({"web": {**python(FLOOD, 40000, 50, done),
                  "log": {"to": "file", "path": path, "size": "300K", "keep": 50}}})
    wait(lambda: os.path.exists(done), "all is written", 30)

    def settled():
        try:
            return glob.glob(path + ".[0-9]*.gz") and not os.path.exists(path + ".new.gz") \
                and len(numbers(files_of(path))) == 40000
        except FileNotFoundError:  # it has got another name just now
            return False
    wait(settled, lambda: [(os.path.getsize(n), n) for n in glob.glob(path + "*")], 20)
    assert numbers(files_of(path)) == list(range(40000))
    assert not glob.glob(path + ".[123].gz"), "the newest MiB is for reading"


def test_last_lines_of_many_files(solo, cluster):
    """As many lines as can be asked for are in files that are not compressed."""
    path = cluster.dir + "/log"
    done = cluster.dir + "/done"
    node = solo({"web": {**python(FLOOD, 40000, 60, done),
                         "log": {"to": "file", "path": path, "size": "300K", "keep": 50}}})
    wait(lambda: os.path.exists(done) and numbers(read(path))[-1:] == [39999], "all is written", 30)
    wait(lambda: glob.glob(path + ".[0-9]*.gz") and not os.path.exists(path + ".new.gz"),
         "some are compressed", 20)
    node.kill()
    node.start()
    assert numbers(node.ctl("logs", "-n", "10000", "web").stdout) == list(range(30000, 40000))


def test_keep(solo, cluster):
    path = cluster.dir + "/log"
    done = cluster.dir + "/done"
    solo({"web": {**python(FLOOD, 5000, 50, done),
                  "log": {"to": "file", "path": path, "size": "10K", "keep": 3}}})
    wait(lambda: os.path.exists(done), "all is written", 30)
    wait(lambda: numbers(read(path))[-1:] == [4999], "the last line")
    assert sorted(glob.glob(path + ".*")) == [path + f".{i}" for i in (1, 2, 3)]
    assert all(os.path.getsize(path + end) <= 10240 for end in ("", ".1", ".2", ".3"))
    found = numbers(files_of(path))
    assert found == list(range(found[0], 5000))


def test_moved_away_and_hangup(solo, cluster):
    path = cluster.dir + "/log"
    node = solo({"web": {**shell("while :; do echo tick; sleep 0.02; done"),
                         "log": {"to": "file", "path": path}}})
    wait(lambda: os.path.exists(path) and read(path), "a line")
    os.rename(path, path + ".old")
    node.process.send_signal(signal.SIGHUP)
    wait(lambda: os.path.exists(path) and read(path), "a line in the new file")


# ---- hostile children

def test_output_is_closed(solo, cluster):
    path = cluster.dir + "/log"
    node = solo({"web": {**shell("echo one; exec >&- 2>&-; sleep 600"),
                         "log": {"to": "file", "path": path}}})
    wait(lambda: os.path.exists(path) and read(path) == "one\n", "a line")
    wait(lambda: not fifos(node), "nothing can come any more")
    assert node.child("web")["state"] == "running"


def test_long_lines_and_no_newline(solo, cluster):
    path = cluster.dir + "/log"
    code = ("import os,time\nd=b'a'*1000000+b'\\n'+b'b'*1000000+b'\\nend'\n"
            "while d: d=d[os.write(1,d):]\n")
    node = solo({"web": {**python(code), "restart": {"policy": "temporary"},
                         "log": {"to": "file", "path": path}}})
    want = "a" * 1000000 + "\n" + "b" * 1000000 + "\nend\n"
    wait(lambda: os.path.exists(path) and len(read(path)) >= len(want), "all of it")
    assert read(path) == want, "in a file even the longest line stays whole"
    wait(lambda: not fifos(node), "no FIFO is left")


def test_flood_holds_up_nobody(solo, cluster):
    node = solo({"flood": {**shell("exec yes"),
                           "log": {"to": "file", "path": cluster.dir + "/flood", "size": "1M",
                                   "keep": 1}},
                 "quiet": {**shell("while :; do date +%%s.%%N; sleep 0.05; done"),
                           "log": {"to": "file", "path": cluster.dir + "/quiet"}}})
    wait(lambda: os.path.exists(cluster.dir + "/flood.1"), "a flood")
    harness.answers_at_once(lambda: node.call("ping"), 2, 0.5, "in a flood")

    def is_heard():
        lines = read(cluster.dir + "/quiet").split()
        return len(lines) > 10 and time.time() - float(lines[-1]) < 1
    wait(is_heard, "what the other one says")


def test_disk_full(solo, cluster):
    """The worker waits, one line says why, the daemon goes on, and nothing is lost."""
    if os.geteuid():
        pytest.skip("only root can mount")
    disk, done = cluster.dir + "/disk", cluster.dir + "/done"
    os.mkdir(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], check=True)
    try:
        node = solo({"web": {**python(FLOOD, 20000, 50, done),
                             "log": {"to": "file", "path": disk + "/log"}}})
        wait(lambda: "No space left on device: its output waits" in node.log(), node.log)
        node.wait_running("web")
        time.sleep(0.5)
        assert node.log().count("No space left") == 1
        assert not os.path.exists(done)
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        wait(lambda: os.path.exists(done), "it goes on")
        wait(lambda: len(numbers(read(disk + "/log"))) >= 20000, "the last line")
        assert numbers(read(disk + "/log")) == list(range(20000))
        node.stop()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_disk_full_until_the_stop(solo, cluster):
    """Its last lines begin a new file; nothing is compressed any more, for which there would be nobody."""
    if os.geteuid():
        pytest.skip("only root can mount")
    disk = cluster.dir + "/disk"
    os.mkdir(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk], check=True)
    try:
        for number, size in enumerate((0, 1200 << 10, 1 << 20)):
            with open(f"{disk}/log.{number}" if number else disk + "/log", "w") as f:
                f.write("x" * 99 + "\n" if not number else ("x" * 99 + "\n") * (size // 100))
        node = solo({"web": shell("trap 'yes " + "y" * 99 + " | head -n 1100; exit 0' TERM; "
                                  "while :; do sleep 0.05; done",
                                  log={"to": "file", "path": disk + "/log", "size": "64K", "keep": 9})},
                    hooks={"slow": {"on": ["child_exited"], "command": ["sleep", "2"]}})
        pid = node.wait_running("web")["pid"]
        with open(disk + "/filler", "wb", buffering=0) as f:
            with pytest.raises(OSError):
                while True:
                    f.write(bytes(4096))
        node.process.terminate()
        wait(lambda: not harness.alive(pid), "it has said it all")
        os.unlink(disk + "/filler")
        assert node.process.wait(10) == 0
        assert sorted(os.listdir(disk)) == ["log", "log.1", "log.2", "log.3"]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


# ---- daemons that are killed

def test_daemon_is_killed_in_the_flood(solo, cluster):
    """Each line is there once: it is in the FIFO or in the file."""
    path, done = cluster.dir + "/log", cluster.dir + "/done"
    node = solo({"web": {**python(FLOOD, 300000, 90, done),
                         "log": {"to": "file", "path": path, "size": "8M", "keep": 100}}})
    pid = node.wait_running("web")["pid"]
    for _ in range(5):
        wait(lambda: os.path.exists(path), "its file")
        time.sleep(0.1)
        node.kill()
        time.sleep(0.05)
        node.start()
    assert node.wait_running("web")["pid"] == pid
    wait(lambda: os.path.exists(done), "all is written", 30)
    wait(lambda: numbers(read(path))[-1:] == [299999], "the last line")
    wait(lambda: not os.path.exists(path + ".new.gz"), "nothing is compressed any more")
    assert numbers(files_of(path)) == list(range(300000))


def test_daemon_is_replaced_in_the_flood(solo, cluster):
    """SIGUSR2: the same, and what a worker says that ends meanwhile is there as well."""
    path, done = cluster.dir + "/log", cluster.dir + "/done"
    node = solo({"web": {**python(FLOOD, 200000, 90, done),
                         "log": {"to": "file", "path": path, "size": "8M", "keep": 100}}})
    pid = node.wait_running("web")["pid"]
    for _ in range(3):
        wait(lambda: os.path.exists(path), "its file")
        time.sleep(0.1)
        before = node.log().count("is ready")
        node.process.send_signal(signal.SIGUSR2)
        wait(lambda: node.log().count("is ready") > before, node.log)
    assert node.wait_running("web")["pid"] == pid
    wait(lambda: os.path.exists(done), "all is written", 30)
    wait(lambda: numbers(read(path))[-1:] == [199999], "the last line")
    wait(lambda: not os.path.exists(path + ".new.gz"), "nothing is compressed any more")
    assert numbers(files_of(path)) == list(range(200000))


def test_daemon_is_killed_in_a_flood_for_the_journal(cluster):
    """Each line is there, in order; at most one a death is there twice."""
    journal, done, found = Journal(cluster.dir + "/journal"), cluster.dir + "/done", []
    node = cluster.node("a", {"web": {**python(FLOOD, 20000, 20, done),
                                      "log": {"to": "journal"}}}, alone=True)
    node.env = {"PROCHUB_JOURNAL_SOCKET": cluster.dir + "/journal"}

    def read_all():
        while not found or found[-1] != 19999:
            found.append(int(journal.entry()["MESSAGE"].split()[1]))
    reader = threading.Thread(target=read_all, daemon=True)
    reader.start()
    node.start()
    deaths = 0
    while not os.path.exists(done) and deaths < 5:
        time.sleep(0.05)
        node.kill()
        node.start()
        deaths += 1
    reader.join(30)
    assert sorted(set(found)) == list(range(20000)) and found == sorted(found)
    assert len(found) <= 20000 + deaths


def test_daemon_is_killed_in_a_flood_for_its_output(solo, cluster):
    """Each line is there, in order; what was just being written may be there twice."""
    done = cluster.dir + "/done"
    node = solo({"web": python(FLOOD, 100000, 50, done)})
    for _ in range(4):
        time.sleep(0.1)
        node.kill()
        node.start()
    wait(lambda: os.path.exists(done), "all is written", 30)
    found = wait(lambda: numbers(read(node.output))[-1:] == [99999] and numbers(read(node.output)),
                 "the last line")
    assert sorted(set(found)) == list(range(100000))
    assert len(found) < 100000 + 4 * 2500


def test_what_is_written_without_a_daemon(solo, cluster):
    path = cluster.dir + "/log"
    node = solo({"web": {**shell(f"echo one; while [ ! -e {cluster.dir}/go ]; do sleep 0.01; done; "
                                 f"echo two; touch {cluster.dir}/said; sleep 600"),
                         "log": {"to": "file", "path": path}}})
    wait(lambda: os.path.exists(path) and read(path) == "one\n", "a line")
    node.kill()
    os.close(os.open(cluster.dir + "/go", os.O_CREAT))
    wait(lambda: os.path.exists(cluster.dir + "/said"), "no SIGPIPE, and it does not wait")
    node.start()
    wait(lambda: read(path) == "one\ntwo\n", "what was in the FIFO")
    assert node.child("web")["restarts"] == 0


def test_state_file_is_lost(solo, cluster):
    """A worker's environment is enough to find its output again."""
    path = cluster.dir + "/log"
    node = solo({"web": {**shell("i=0; while :; do echo line $i; i=$((i+1)); sleep 0.01; done"),
                         "log": {"to": "file", "path": path}}})
    wait(lambda: os.path.exists(path) and numbers(read(path)), "a line")
    node.kill()
    os.unlink(node.run_dir + "/state")
    node.start()
    there = numbers(read(path))[-1]
    wait(lambda: numbers(read(path))[-1] > there + 20, "more lines")
    assert node.child("web")["restarts"] == 0
    found = numbers(read(path))
    assert found == list(range(len(found)))


def test_two_workers_and_one_file(solo, cluster):
    """In a swap the old worker and its successor write whole lines."""
    path = cluster.dir + "/log"
    code = ("import os\nfor i in range(10**9):\n"
            " os.write(1, b'%d %d ' % (os.getpid(), i) + b'x' * 9000 + b'\\n')\n")
    child = {**python(code), "log": {"to": "file", "path": path, "size": "50M", "keep": 9},
             "migration": {**harness.FAST, "handover": "false"}}
    node = solo({"web": child})
    pid = node.wait_running("web")["pid"]
    wait(lambda: os.path.exists(path) and os.path.getsize(path), "a line")
    node.call("swap", child="web")
    node.wait_child("web", pid=lambda p: p and p != pid)
    time.sleep(0.3)
    node.call("stop", child="web")
    wait(lambda: not fifos(node), "all is written")
    last = {}
    for line in files_of(path).splitlines():
        found = re.fullmatch(r"(\d+) (\d+) x{9000}", line)
        if not found:  # what a worker had half written when it was killed
            assert re.fullmatch(r"\d+ \d+ x*|\d+ ?\d*", line), line[:80]
            continue
        who, number = int(found.group(1)), int(found.group(2))
        assert number == last.get(who, -1) + 1
        last[who] = number
    assert len(last) == 2


def test_left_fifos_are_removed(solo):
    node = solo({"web": shell("sleep 600")})
    node.wait_running("web")
    node.kill()
    os.mkfifo(node.run_dir + "/fifo/old.0.0-0123456789abcdef")
    node.start()
    node.wait_running("web")
    assert fifos(node) and "old.0.0-0123456789abcdef" not in fifos(node)


def test_last_words_are_written_at_the_stop(solo, cluster):
    path = cluster.dir + "/log"
    node = solo({"web": {**shell("trap 'echo bye; exit 0' TERM; echo hi; "
                                 "while :; do sleep 0.01; done"),
                         "log": {"to": "file", "path": path}}})
    wait(lambda: os.path.exists(path) and read(path) == "hi\n", "a line")
    node.stop()
    assert read(path) == "hi\nbye\n"
