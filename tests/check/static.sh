#!/bin/sh
# All checks of source and programs that run nothing; all of them, even if one fails.
# usage: static.sh BUILD
set -u
here=$(dirname "$0")
status=0
"${PYTHON:-/usr/bin/python3}" -B "$here/arrows.py" || status=1
"${PYTHON:-/usr/bin/python3}" -B "$here/size.py" || status=1
"$here/purity.sh" "$1" || status=1
"$here/ldd.sh" "$1" || status=1
exit $status
