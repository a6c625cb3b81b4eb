"""A file system that takes each request and never answers, as that of a server that is gone.

silentfs.py FOLDER FD serves it there until it is killed. Who has asked for a file cannot even be killed
then, until the file system is ended (`end`).
"""

import ctypes
import os
import select
import stat
import struct
import subprocess
import sys
import time

import harness

INIT = 26
MNT_FORCE, MNT_DETACH = 1, 2


def serve(folder):
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(sys.argv[2])
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"silent", folder.encode(), b"fuse", 0, options):
        sys.exit(os.strerror(ctypes.get_errno()))
    print("mounted", flush=True)
    ends = time.time() + 60
    while time.time() < ends and os.getppid() != 1:
        if not select.select([fd], [], [], 0.2)[0]:
            continue
        _, op, unique, _ = struct.unpack_from("<IIQQ", os.read(fd, 1 << 16))
        if op == INIT:
            body = struct.pack("<IIIIHHI", 7, 31, 4096, 0, 12, 9, 4096).ljust(64, b"\0")
            os.write(fd, struct.pack("<IiQ", 16 + len(body), 0, unique) + body)


def open_device(folder):
    """OSError: not on this machine."""
    if os.path.exists("/dev/fuse"):
        return os.open("/dev/fuse", os.O_RDWR)
    os.mknod(folder + ".device", 0o600 | stat.S_IFCHR, os.makedev(10, 229))
    return os.open(folder + ".device", os.O_RDWR)


class Silent:
    """One that is mounted: nothing in `folder` answers until end()."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder)
        fd = open_device(folder)
        self.process = subprocess.Popen([harness.PYTHON, __file__, folder, str(fd)],
                                        stdout=subprocess.PIPE, text=True, pass_fds=[fd])
        os.close(fd)
        assert self.process.stdout.readline() == "mounted\n"

    def end(self):
        if self.process.poll() is not None:
            return
        libc = ctypes.CDLL(None)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        libc.umount2(self.folder.encode(), MNT_FORCE)  # all requests fail
        libc.umount2(self.folder.encode(), MNT_DETACH)


if __name__ == "__main__":
    serve(sys.argv[1])
