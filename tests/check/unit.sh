#!/bin/sh
# Runs unit test programs one after the other, all of them even if one fails; 1 if any failed.
# usage: unit.sh [--valgrind] PROGRAM...   (CK_FORK=no: in one process, as sanitizers need it)
set -u
limit=120
wrap=
if [ "$1" = --valgrind ]; then
	shift
	limit=900
	wrap='valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite'
fi
[ -n "${CK_FORK:-}" ] || unset CK_FORK
# Check's own 4 s a test are too few on a machine that does other things too
export CK_DEFAULT_TIMEOUT="${CK_DEFAULT_TIMEOUT:-60}"
failed=
for test in "$@"; do
	# shellcheck disable=SC2086 # a command and its options
	timeout -k 5 "$limit" $wrap "$test" </dev/null
	status=$?
	[ $status = 0 ] && continue
	echo "unit: $test ended with status $status" >&2
	failed="$failed ${test##*/}"
done
if [ -n "$failed" ]; then
	echo "unit: failed:$failed" >&2
	exit 1
fi
