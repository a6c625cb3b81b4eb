"""Which folder may include which: the arrows between the layers, and who may use which library.

usage: arrows.py [ROOT]; exit 1 with a line for each violation.
"""

import fnmatch
import os
import pathlib
import re
import sys

ARROWS = {  # layer: the other layers that it may include
    "main": {"shell", "conf", "core", "io", "base"},
    "shell": {"core", "io", "conf", "proto", "base"},
    "core": {"base"},
    "io": {"base", "proto"},
    "bus": {"base"},
    "fence": {"base"},
    "ctl": {"proto", "base"},
    "conf": {"base"},
    "proto": {"base"},
    "lib": {"proto", "base"},
    "examples": {"public"},
    "public": set(),
    "base": set(),
}
# A library's headers: the files that may include them. Those of libc are free but in core.
LIBRARIES = {
    "event2/*": ["daemon/io/*", "daemon/shell*", "daemon/main.c"],
    "nanomsg/*": ["daemon/bus/*"],
    "jansson.h": ["proto/*", "daemon/ctl/*", "lib/*", "daemon/shell*"],
    "yaml.h": ["conf/*"],
    "sodium.h": ["proto/seal*", "proto/envelope*", "daemon/io/stream_block.c"],
    "sodium/*": [],
    "xxhash.h": ["daemon/io/*", "daemon/shell*"],
    "libsmartcols.h": ["daemon/ctl/*"],
    "libsmartcols/*": [],
}
# In core: words and numbers only. Everything else of libc is the world outside.
CORE_LIBC = {
    "assert.h", "ctype.h", "errno.h", "fnmatch.h", "inttypes.h", "limits.h", "math.h", "stdarg.h",
    "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h", "uthash.h", "utlist.h",
}
FOLDERS = ["conf", "daemon", "lib", "proto"]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def layer(path):
    """The layer of a file, from its place in the tree."""
    parts = path.split("/")
    if parts[0] == "daemon":
        if len(parts) == 2:
            return "main" if parts[1] == "main.c" else "shell"
        return parts[1]
    if path.startswith("lib/examples/"):
        return "examples"
    if path.startswith("lib/prochub/"):
        return "public"
    return parts[0]


def resolve(root, path, name, quoted):
    """The file of the tree that an include means, or None for one of the system."""
    places = ["daemon", "lib", "."]
    if quoted:
        places.insert(0, str(pathlib.PurePosixPath(path).parent))
    for place in places:
        if (root / place / name).is_file():
            return os.path.normpath(f"{place}/{name}")
    return None


def wrong_library(path, name):
    """A sentence if this file may not include this header of the system, else None."""
    for pattern, users in LIBRARIES.items():
        if fnmatch.fnmatch(name, pattern) and not any(fnmatch.fnmatch(path, u) for u in users):
            return f"<{name}> belongs to {', '.join(users) or 'nobody'}"
    if layer(path) == "core" and name not in CORE_LIBC:
        return f"<{name}> is not for the core"
    return None


def violations(root):
    for path in sorted(p for f in FOLDERS for p in (root / f).rglob("*.[ch]")):
        name = path.relative_to(root).as_posix()
        own = layer(name)
        if own not in ARROWS:
            yield f"{name}:1: is in no layer"
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            target = resolve(root, name, found[2], found[1] == '"')
            if target is None:
                why = (f'"{found[2]}" is not in the tree' if found[1] == '"'
                       else wrong_library(name, found[2]))
            else:
                to = layer(target)
                allowed = to == own or to in ARROWS[own] or (own == "lib" and to == "public")
                why = None if allowed else f"{own} may not include {to} ({target})"
            if why:
                yield f"{name}:{number}: {why}"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    found = list(violations(root))
    print("\n".join(found) or "arrows: no file includes what its layer must not know")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
