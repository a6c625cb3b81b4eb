"""Hot swap on one node: a new worker beside the old one, with its state, and no update lost."""

import os
import signal

import harness
import pytest
from clients import Client, finish_all
from raw import counter, faults, py_counter, raw, sh, sleeper


def swap(node, child, *more):
    return node.ctl("swap", child, *more)


@pytest.mark.parametrize("kind", ["raw", "c", "py", "rounds"])
def test_state_goes_along(solo, cluster, kind):
    child = {"raw": raw(cluster, "w"), "c": counter(), "py": py_counter(),
             "rounds": raw(cluster, "w", "--caps", "handover,rounds")}[kind]
    node = solo({"w": child})
    client = Client(cluster, "w")
    client.acks(10)
    before = node.wait_running("w")
    done = swap(node, "w")
    assert done.returncode == 0, (done, node.log())
    assert "swapped" in done.stdout
    after = node.wait_running("w", pid=lambda p: p != before["pid"])
    assert after["epoch"] > before["epoch"] and after["restarts"] == 0
    client.acks(10)
    migration = node.wait_migration("w", "done")
    assert migration["from"] == migration["to"] == "a"
    finish_all([client])
    assert cluster.workers("w") == [after["pid"]]
    node.stop()
