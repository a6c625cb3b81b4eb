"""Lines reached, for each source of the programs, from gcov. usage: coverage.py BUILD"""

import collections
import gzip
import json
import os
import pathlib
import subprocess
import sys
import tempfile


def main():
    notes = [str(p.resolve()) for p in pathlib.Path(sys.argv[1]).rglob("*.gcda")
             if "/tests/" not in str(p)]
    lines = collections.defaultdict(dict)
    with tempfile.TemporaryDirectory() as work:
        for i in range(0, len(notes), 50):
            subprocess.run(["gcov", "--json-format", "--preserve-paths", *notes[i:i + 50]],
                           cwd=work, stdout=subprocess.DEVNULL, check=True)
        for path in pathlib.Path(work).glob("*.gcov.json.gz"):
            for file in json.loads(gzip.open(path).read())["files"]:
                if not os.path.isabs(file["file"]):
                    for line in file["lines"]:
                        seen = lines[file["file"]]
                        number = line["line_number"]
                        seen[number] = max(seen.get(number, 0), line["count"])
    total = reached = 0
    for name in sorted(lines):
        n, hit = len(lines[name]), sum(1 for c in lines[name].values() if c)
        total, reached = total + n, reached + hit
        print(f"{100 * hit / n:5.1f} %  {hit:5} of {n:5}  {name}")
    if not total:
        sys.exit("coverage: no counts below " + sys.argv[1])
    print(f"{100 * reached / total:5.1f} %  {reached:5} of {total:5}  all")


if __name__ == "__main__":
    main()
