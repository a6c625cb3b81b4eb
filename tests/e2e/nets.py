"""Hosts as network namespaces on one bridge, and what can go wrong between them.

Host N is 10.77.0.N; the bridge stands in a namespace of its own, so nothing of it is seen outside.
The names carry the pid of this process: beds of several runs stand beside each other, and those of
runs that were killed are removed by the next one. Needs root, iproute2, nftables and ethtool.
"""

import ctypes
import itertools
import os
import re
import shutil
import subprocess
import sys
import threading

import harness

NEEDED = ("ip", "nft", "ethtool")
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def lacking():
    """Why no bed can be made here; None where one can."""
    if os.geteuid():
        return "network namespaces need root"
    missing = [tool for tool in NEEDED if not shutil.which(tool)]
    return f"not installed: {' '.join(missing)}" if missing else None


def run(*command, input=None):
    done = subprocess.run(command, input=input, text=True, stdin=None if input else
                          subprocess.DEVNULL, capture_output=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def enter(namespace):
    """The calling thread alone goes there; there is no way back but its end."""
    fd = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    finally:
        os.close(fd)


def remove(names):
    """Those namespaces, with all that runs in them."""
    for name in names:
        for pid in run("ip", "netns", "pids", name).split():
            harness.kill(int(pid))
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def remove_orphans():
    """Those of runs that ended without removing them."""
    found = [line.split()[0] for line in run("ip", "netns").splitlines()]
    owners = {name: re.fullmatch(r"ph(\d+)-\d+-\w+", name) for name in found}
    remove(name for name, owner in owners.items() if owner and not harness.alive(owner[1]))


class Bed:
    """`count` hosts; faults until heal()."""

    beds = itertools.count()

    def __init__(self, count):
        remove_orphans()
        self.prefix = f"ph{os.getpid()}-{next(self.beds)}-"
        self.hosts, self.lines, self.cut_off = range(1, count + 1), {}, set()
        self.rules = {host: {"in": [], "out": []} for host in self.hosts}
        self.switch = self.prefix + "switch"
        try:
            self.build()
        except BaseException:
            self.close()
            raise

    def build(self):
        run("ip", "netns", "add", self.switch)
        self.ip("link add br0 type bridge stp_state 0 forward_delay 0")
        self.ip("link set br0 up")
        for host in self.hosts:
            name = self.name(host)
            run("ip", "netns", "add", name)
            self.ip(f"link add port{host} type veth peer name eth0 netns {name}")
            self.ip(f"link set port{host} master br0 up")
            for words in (f"addr add {self.address(host)}/24 dev eth0", "link set eth0 up",
                          "link set lo up"):
                run("ip", "-n", name, *words.split())
            # whole checksums on the wire: delayline.py passes on the bytes that it sees
            self.run(host, "ethtool", "-K", "eth0", "tx", "off", "gso", "off", "gro", "off")

    def name(self, host):
        return f"{self.prefix}h{host}"

    @staticmethod
    def address(host):
        return f"10.77.0.{host}"

    def ip(self, words):
        run("ip", "-n", self.switch, *words.split())

    def inside(self, host):
        """What stands before a command that runs there; the process is the one that is started."""
        return ["ip", "netns", "exec", self.name(host)]

    def run(self, host, *command, input=None):
        return run(*self.inside(host), *command, input=input)

    def within(self, host, function):
        """What `function()` returns in a thread of that host."""
        result = []

        def there():
            enter(self.name(host))
            result.append(function())
        thread = threading.Thread(target=there)
        thread.start()
        thread.join()
        return result[0]

    # ---- faults: each holds until heal()

    def forbid(self, host, way, rule):
        """Adds an nft rule for what goes `in` or `out` there; those of a host change at once."""
        self.rules[host][way].append(rule)
        chains = "".join(
            f"chain {way} {{ type filter hook {way}put priority -10; {'; '.join(rules)}; }};\n"
            for way, rules in self.rules[host].items() if rules)
        self.run(host, "nft", "-f", "-", input="table inet faults {}; delete table inet faults;"
                 f"table inet faults {{ {chains} }}\n")

    def cut(self, a, b):
        """Both ways, silently: connections stall."""
        self.cut_one_way(a, b)
        self.cut_one_way(b, a)

    def cut_one_way(self, source, target):
        """What `source` sends does not arrive; dropped behind its stack, which notices nothing."""
        self.forbid(target, "in", f"ip saddr {self.address(source)} drop")

    def split(self, *sides):
        """Several groups of hosts that do not see each other."""
        for one, other in itertools.combinations(sides, 2):
            for a, b in itertools.product(one, other):
                self.cut(a, b)

    def reject(self, a, b):
        """Both ways, with an answer: connections are reset, new ones refused."""
        for x, y in ((a, b), (b, a)):
            self.forbid(x, "out", f"ip daddr {self.address(y)} ip protocol tcp "
                        "reject with tcp reset")

    def lose(self, host, percent):
        """Of what comes in and of what goes out."""
        for way in ("in", "out"):
            self.forbid(host, way, f"{way[0]}if != lo numgen random mod 100 < {percent} drop")

    def isolate(self, host):
        """Its port is off the bridge; the carrier stays."""
        self.ip(f"link set port{host} nomaster")
        self.cut_off.add(host)

    def delay(self, host, ms):
        """Each frame from it and to it takes so much longer."""
        self.lines[host] = subprocess.Popen(
            ["ip", "netns", "exec", self.switch, sys.executable, "-B", "-S",
             os.path.join(harness.HERE, "delayline.py"), f"port{host}", str(ms)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.lines[host].stdout.readline() == b"delaying\n", "delayline.py does not start"

    def heal(self):
        """Everything is well again."""
        for host, rules in self.rules.items():
            if rules["in"] or rules["out"]:
                rules["in"], rules["out"] = [], []
                self.run(host, "nft", "delete", "table", "inet", "faults")
        for host in self.cut_off:
            self.ip(f"link set port{host} master br0")
        self.cut_off.clear()
        while self.lines:
            _, line = self.lines.popitem()
            line.terminate()
            line.wait()
            line.stdout.close()

    def close(self):
        for line in self.lines.values():
            line.kill()
            line.wait()
            line.stdout.close()
        found = [line.split()[0] for line in run("ip", "netns").splitlines()]
        remove(name for name in found if name.startswith(self.prefix))
