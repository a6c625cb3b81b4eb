"""The README's configuration and workers are what they claim: they run, and move with their state."""

import os
import re
import subprocess

import pytest

import harness

with open(os.path.join(harness.ROOT, "README.md")) as f:
    README = f.read()


def block(kind):
    """The one code block of that kind."""
    (text,) = re.findall(rf"^```{kind}\n(.*?)^```$", README, re.S | re.M)
    return text


@pytest.fixture(scope="module")
def tickers(tmp_path_factory):
    """The commands of both workers, made from the README's text."""
    place = tmp_path_factory.mktemp("readme")
    (place / "ticker.c").write_text(block("c"))
    subprocess.run(["gcc", "-Wall", "-Werror", "-I" + os.path.join(harness.ROOT, "lib"),
                    "-o", place / "ticker", place / "ticker.c",
                    os.path.join(harness.BUILD, "libprochub.a"), "-ljansson"], check=True)
    (place / "ticker.py").write_text(block("python"))
    place.chmod(0o755)
    return {"c": [str(place / "ticker")],
            "python": ["/usr/bin/env", "PYTHONPATH=" + os.path.join(harness.ROOT, "lib", "python"),
                       harness.PYTHON, str(place / "ticker.py")]}


def test_configuration(tmp_path):
    key = tmp_path / "cluster.key"
    subprocess.run([harness.CTL, "keygen", str(key)], check=True)
    text = block("yaml").replace("/etc/prochub/cluster.key", str(key))
    text = text.replace("/usr/local/bin/ticker", "/bin/true")
    assert str(key) in text and "/bin/true" in text
    file = tmp_path / "prochub.yaml"
    file.write_text(text)
    checked = subprocess.run([harness.PROCHUBD, "-t", "-c", str(file)],
                             capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("kind", ["c", "python"])
def test_worker_moves(cluster, tickers, kind):
    cluster.start("a", "b", children={"ticker": {
        "command": tickers[kind], "ready": "protocol", "migration": harness.FAST}})
    cluster.wait_calm()
    owner = cluster.wait_everywhere("ticker")["node"]
    other = "b" if owner == "a" else "a"

    def ticks(node):
        return [int(n) for n in re.findall(r"^(\d+)$", cluster.nodes[node].log(), re.M)]

    harness.wait(lambda: len(ticks(owner)) >= 2, "it counts")
    moved = cluster.nodes["a"].ctl("move", "ticker", other)
    assert moved.returncode == 0, moved.stderr
    harness.wait(lambda: ticks(other), "it counts there")
    assert ticks(other)[0] == ticks(owner)[-1] + 1
