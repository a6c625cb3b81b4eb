"""Runs end-to-end tests in a virtual machine: what cgroup v2 limits, this machine may not have.

The kernel is Debian's, fetched by apt into build/vm; the tree of files is that of this machine,
read-only; processors are emulated, so no rights to virtualize are needed. Needs qemu-system-x86.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = ("virtio_pci", "9pnet_virtio", "9p")


def run(*words, **more):
    return subprocess.run(words, check=True, text=True, **more)


def kernel(where):
    """Fetches and unpacks it, once; the folder of the package's files."""
    tree = f"{where}/kernel"
    if os.path.isdir(tree):
        return tree
    depends = run("apt-cache", "depends", "linux-image-amd64", stdout=subprocess.PIPE).stdout
    package = re.search(r"Depends: (linux-image-\S+)", depends).group(1)
    run("apt-get", "-q", "download", package, cwd=where)
    (found,) = [f for f in os.listdir(where) if f.startswith(package) and f.endswith(".deb")]
    run("dpkg-deb", "-x", f"{where}/{found}", f"{tree}.part")
    os.unlink(f"{where}/{found}")
    os.rename(f"{tree}.part", tree)
    return tree


def modules(tree):
    """Their files, each after those that it needs."""
    files = {}
    for folder, _, names in os.walk(f"{tree}/lib/modules"):
        files.update((n[:-3].replace("-", "_"), f"{folder}/{n}") for n in names if n.endswith(".ko"))
    ordered = []

    def add(name):
        with open(files[name], "rb") as f:
            needed = re.search(rb"\0depends=([^\0]*)", f.read()).group(1).decode()
        for other in filter(None, needed.replace("-", "_").split(",")):
            add(other)
        if files[name] not in ordered:
            ordered.append(files[name])

    for name in MODULES:
        add(name)
    return ordered


def archive(entries):
    """[(name, mode, bytes)] as the kernel takes it: cpio, new format."""
    made = b""
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")]):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        made += b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        made += b"\0" * (-len(made) % 4) + content
        made += b"\0" * (-len(made) % 4)
    return made


def initrd(where, tree):
    run("gcc", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O2", "-static", "-o",
        f"{where}/init", f"{HERE}/init.c")
    entries = [("dev", 0o40755, b""), ("modules", 0o40755, b"")]
    for i, (name, path) in enumerate([("init", f"{where}/init")] + [
            (f"modules/{i:02}.ko", path) for i, path in enumerate(modules(tree))]):
        with open(path, "rb") as f:
            entries.append((name, 0o100755, f.read()))
    with open(f"{where}/initrd", "wb") as f:
        f.write(archive(entries))
    return f"{where}/initrd"


def machine(tree, image, command, timeout):
    """Prints what it prints; the exit status of the command."""
    (vmlinuz,) = [f"{tree}/boot/{f}" for f in os.listdir(f"{tree}/boot") if f.startswith("vmlinuz")]
    line = "console=ttyS0 panic=-1 loglevel=1 mitigations=off vm_run=" + command.replace(" ", "+")
    words = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m",
             "2048", "-nographic", "-no-reboot", "-nic", "none", "-kernel", vmlinuz, "-initrd",
             image, "-append", line, "-virtfs",
             "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"]
    result = None
    with subprocess.Popen(["timeout", str(timeout), *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True, errors="replace") as vm:
        for text in vm.stdout:
            end = re.search(r"VM-END (\d+)", text)
            if end:
                result = int(end.group(1))
            else:
                print(text.rstrip("\r\n"), flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--timeout", type=int, default=600, help="seconds")
    parser.add_argument("tests", nargs="+", help="arguments of pytest, from the root of the sources")
    args = parser.parse_args()
    if not shutil.which("qemu-system-x86_64"):
        sys.exit("vm.py: qemu-system-x86_64 is missing: apt-get install qemu-system-x86")
    build, where = os.path.abspath(args.build), os.path.join(ROOT, "build", "vm")
    os.makedirs(where, exist_ok=True)
    tree = kernel(where)
    tests = (f"cd {ROOT} && PYTHONDONTWRITEBYTECODE=1 PROCHUB_BUILD={build} "
             f"PYTHONPATH=tests/check /usr/bin/python3 -m pytest -q --color=no "
             f"-p no:cacheprovider -p noskip {' '.join(args.tests)}")
    result = machine(tree, initrd(where, tree), tests, args.timeout)
    if result is None:
        sys.exit(f"vm.py: the machine did not end within {args.timeout} s")
    sys.exit(result)


if __name__ == "__main__":
    main()
