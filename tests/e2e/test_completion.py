"""Completion as the shells do it: bash, zsh and fish read the script and are asked for words."""

import os
import pty
import select
import stat
import subprocess
import time

import pytest

from harness import BUILD

CTL = os.path.join(BUILD, "prochubctl")

STUB = """#!/bin/sh
# names as prochubctl prints them; where it was told a socket, those of another daemon
case " $* " in
*" --socket /else "* | *" --socket=/else "*) echo "elsewhere running"; exit ;;
*" status "*) echo "room/0  a  running"; echo "room/1  b  running"; echo "shop    a  running" ;;
*" nodes "*) echo "node-a alive"; echo "node-b alive" ;;
*" migrations "*) echo "c0ffee00 room/0 a b done" ;;
esac
"""


@pytest.fixture(name="shells", scope="module")
def shells_fixture(tmp_path_factory):
    """A folder with a prochubctl that knows names, and the scripts of the real one."""
    folder = tmp_path_factory.mktemp("completion")
    stub = folder / "prochubctl"
    stub.write_text(STUB)
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    for shell in ("bash", "zsh", "fish"):
        script = subprocess.run([CTL, "completion", shell],
                                check=True, capture_output=True, text=True)
        (folder / shell).write_text(script.stdout)
    return folder


def environment(shells):
    return {"PATH": f"{shells}:{os.environ['PATH']}", "HOME": str(shells), "TERM": "dumb"}


def bash(shells, line):
    """What bash offers for the last word of `line`."""
    words = line.replace("=", " = ").split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    script = f"""source {shells}/bash
        COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}
        _prochubctl; printf '%s\\n' "${{COMPREPLY[@]}}" """
    run = subprocess.run(["bash", "--norc", "-c", script], env=environment(shells), check=True,
                         capture_output=True, text=True)
    assert run.stderr == ""
    return set(run.stdout.split())


def fish(shells, line):
    run = subprocess.run(["fish", "--no-config", "-c", f"source {shells}/fish; complete -C '{line}'"],
                         env=environment(shells), check=True, capture_output=True, text=True)
    return {row.split("\t")[0] for row in run.stdout.splitlines()}


CASES = [
    ("prochubctl sta", {"status", "start"}),
    ("prochubctl status --no-l", {"--no-legend"}),
    ("prochubctl show r", {"room", "room/0", "room/1"}),
    ("prochubctl stop shop room/", {"room/0", "room/1"}),
    ("prochubctl move room/0 node", {"node-a", "node-b"}),
    ("prochubctl --json drain node-b", {"node-b"}),
    ("prochubctl migrations c0", {"c0ffee00"}),
    ("prochubctl cancel c0", {"c0ffee00"}),
    ("prochubctl forget node", {"node-a", "node-b"}),
    ("prochubctl --socket /else show e", {"elsewhere"}),
    ("prochubctl wait room --for m", {"moved"}),
    ("prochubctl --timeout 3s completion z", {"zsh"}),
]


@pytest.mark.parametrize("line,wanted", CASES)
def test_bash(shells, line, wanted):
    assert bash(shells, line) == wanted


@pytest.mark.parametrize("line,wanted", [
    ("prochubctl wait room --for=st", {"stopped"}),
    ("prochubctl --color=n", {"never"}),
    ("prochubctl nodes ", set()),
    ("prochubctl move room/0 --no-", {"--no-legend", "--no-wait"}),
    ("prochubctl status --no-w", set()),
])
def test_bash_knows_options(shells, line, wanted):
    assert bash(shells, line) == wanted


@pytest.mark.parametrize("line,wanted", [case for case in CASES if "room/" not in case[0][-5:]])
def test_fish(shells, line, wanted):
    assert wanted - {"room"} <= fish(shells, line)


@pytest.mark.parametrize("typed,becomes", [
    ("prochubctl statu", "prochubctl status"),
    ("prochubctl move shop node-b --no-w", "prochubctl move shop node-b --no-wait"),
    ("prochubctl show sh", "prochubctl show shop"),
])
def test_zsh(shells, typed, becomes):
    """zsh completes only while somebody types: the keys go through a terminal."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], environment(shells) | {"PS1": ""})
    try:
        os.write(fd, f"source {shells}/zsh; unsetopt zle_bracketed_paste; print rea''dy\r".encode())
        expect(fd, "ready")
        os.write(fd, f"{typed}\t".encode())
        expect(fd, becomes)
    finally:
        os.close(fd)
        os.waitpid(pid, 0)


def expect(fd, text):
    """Reads what the terminal shows until `text` is in it."""
    seen, end = "", time.monotonic() + 20
    while text not in seen:
        assert time.monotonic() < end, f"{text!r} is not in {seen!r}"
        if select.select([fd], [], [], 0.1)[0]:
            seen += os.read(fd, 65536).decode(errors="replace")


def test_wrong_shell():
    run = subprocess.run([CTL, "completion", "tcsh"], capture_output=True,
                         text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == "prochubctl: completion: expected bash, zsh or fish, not 'tcsh'\n"
