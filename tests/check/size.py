"""Functions of at most 60 lines, files of at most 600 lines of code, headers 700.
Examples of workers: at most 99 lines, all counted.

Blank lines and comments of a file are free.
usage: size.py [ROOT]; exit 1 with a line for each that is longer.
"""

import pathlib
import re
import sys

FUNCTION_LINES = 60
FILE_LINES = {".c": 600, ".h": 700}
EXAMPLES = ["lib/examples/*.c", "lib/python/examples/*.py"]
EXAMPLE_LINES = 99
FOLDERS = ["conf", "daemon", "lib", "proto"]
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)


def functions(lines):
    """(line, length) of each function: from the brace in the first column to its end."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line.startswith("}") and start:
            yield start - 1, number - start + 1
            start = None


def too_long(root):
    for path in sorted(p for f in FOLDERS for p in (root / f).rglob("*.[ch]")):
        text = path.read_text()
        name = path.relative_to(root).as_posix()
        for line, length in functions(text.splitlines()):
            if length > FUNCTION_LINES:
                yield f"{name}:{line}: a function of {length} lines, at most {FUNCTION_LINES}"
        code = sum(1 for line in COMMENT.sub("", text).splitlines() if line.strip())
        if code > FILE_LINES[path.suffix]:
            yield f"{name}: {code} lines of code, at most {FILE_LINES[path.suffix]}"
    for path in sorted(p for pattern in EXAMPLES for p in root.glob(pattern)):
        lines = len(path.read_text().splitlines())
        if lines > EXAMPLE_LINES:
            yield f"{path.relative_to(root)}: {lines} lines, an example has at most {EXAMPLE_LINES}"


def main():
    found = list(too_long(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
    print("\n".join(found) or f"size: no function above {FUNCTION_LINES} lines, no file too long")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
