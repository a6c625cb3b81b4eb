"""Signals at any moment of the daemon's life: it stops in an orderly way, by none of them alone."""

import random
import signal
import time

import harness
from raw import sleeper

TERM = 1 << (signal.SIGTERM - 1)
moments = random.Random(1)


def is_masked(pid):
    """Has it come so far that it keeps SIGTERM back, or handles it? Before, the loader runs."""
    with open(f"/proc/{pid}/status") as f:
        sets = dict(line.split(":") for line in f if line.startswith("Sig"))
    return (int(sets["SigBlk"], 16) | int(sets["SigCgt"], 16)) & TERM


def assert_stopped(node):
    assert node.process.wait(10) == 0, f"{node.process.returncode}\n{node.log()}"
    left = harness.processes_of("PROCHUB_SOCKET=" + node.run_dir)
    assert not left, f"left behind: {left}\n{node.log()}"
    harness.wait(lambda: not harness.processes_of(node.cluster.dir), "the bus has ended too")


def test_one_signal_soon_after_the_start(cluster):
    for turn in range(20):
        node = cluster.nodes.get("a") or cluster.node("a", {"web": sleeper(instances=3)})
        pause = moments.uniform(0, 0.05)
        node.start(ready=False)
        harness.wait(lambda: is_masked(node.process.pid), "it keeps signals back", pause=0)
        time.sleep(pause)
        node.process.send_signal(signal.SIGTERM if turn % 2 else signal.SIGINT)
        assert_stopped(node)


def test_signals_before_it_is_a_daemon(cluster):
    """Started with the signal blocked, and pending from the first moment on."""
    node = cluster.node("a", {"web": sleeper()}, alone=True)
    for _ in range(3):
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            node.start(ready=False)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        node.process.send_signal(signal.SIGTERM)
        assert_stopped(node)


def test_signals_until_it_has_ended(cluster):
    """Those that come while it stops, and while it takes itself apart, end it no sooner."""
    for turn in range(8):
        node = cluster.nodes.get("a") or cluster.node("a", {"web": sleeper(instances=3)})
        node.start(ready=turn % 2 == 0)
        harness.wait(lambda: is_masked(node.process.pid), "it keeps signals back", pause=0)
        while node.process.poll() is None:
            node.process.send_signal(moments.choice([signal.SIGTERM, signal.SIGINT]))
            time.sleep(moments.uniform(0, 0.002))
        assert_stopped(node)
