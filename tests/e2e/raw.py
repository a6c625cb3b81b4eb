"""Children of the tests: shell one-liners, our example counters, and worker.py with its faults."""

import os

import harness

RAW = os.path.join(harness.HERE, "worker.py")


class Faults:
    """The file that tells a worker.py what to do wrong, and the log of what it went through."""

    def __init__(self, path):
        self.path = path

    def set(self, *words):
        with open(self.path + ".new", "w") as f:
            f.write("\n".join(words))
        os.rename(self.path + ".new", self.path)

    def clear(self):
        self.set()

    def log(self):
        """(pid, instance, word) of each step, in order."""
        try:
            with open(self.path + ".log") as f:
                return [(int(p), int(i), w) for p, i, w in (x.split() for x in f)]
        except OSError:
            return []

    def words(self, pid=None):
        return [w for p, _, w in self.log() if pid in (None, p)]

    def wait(self, word, pid=None, count=1, timeout=10, since=0):
        """Waits until that step was reached (by that process) so often; the pid that did it."""
        def seen():
            return [p for p, _, w in self.log()[since:]
                    if w == word and pid in (None, p)][count - 1:]
        return harness.wait(seen, lambda: f"step {word} ({count}) in {self.log()}", timeout)[0]


def faults(cluster, name):
    return Faults(f"{cluster.dir}/{name}.faults")


def raw(cluster, name, *args, migration=None, words=(), **options):
    """A child that runs worker.py with its own file of faults."""
    if words:
        faults(cluster, name).set(*words)
    return {"command": [harness.PYTHON, "-S", "-E", RAW, "--faults", faults(cluster, name).path,
                        *args],
            "ready": "protocol", "migration": {**harness.FAST, **(migration or {})}, **options}


def counter(*args, migration=None, **options):
    return {"command": [*harness.COUNTER, *args], "ready": "protocol",
            "migration": {**harness.FAST, **(migration or {})}, **options}


def py_counter(*args, migration=None, **options):
    return {"command": [*harness.PY_COUNTER, *args], "ready": "protocol",
            "migration": {**harness.FAST, **(migration or {})}, **options}


def sh(script, **options):
    return {"command": ["/bin/sh", "-c", script], **options}


def sleeper(**options):
    return {"command": ["/bin/sleep", "1000000"], **options}


def ends(cluster, child, instance=0):
    """(node that has the child, another live node), once all agree."""
    entry = cluster.wait_everywhere(child, instance)
    source = cluster.nodes[entry["node"]]
    return source, next(n for n in cluster.live if n is not source)
