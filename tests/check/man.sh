#!/bin/sh
# Manual pages: accepted by mandoc, and each verb, option and event of the programs stands in them.
# usage: man.sh BUILD
set -eu
man=$1/man

fail() {
	echo "man: $*" >&2
	exit 1
}

mandoc -T lint -W warning "$man"/* || fail "mandoc complains"
plain='s/.\x08//g' # without the bold letters, which are written twice
mandoc -T ascii "$man/prochubctl.1" | sed "$plain" >"$1/prochubctl.txt"
mandoc -T ascii "$man/prochub.yaml.5" | sed "$plain" >"$1/prochub.yaml.txt"
"$1/prochubctl" --help >"$1/help.txt"
verbs=$(sed -n '/^Verbs:/,/^$/s/^  \([a-z]*\).*/\1/p' "$1/help.txt")
options=$(sed '/^Not in this version/,$d' "$1/help.txt" | grep -o -e '--[a-z-]*' | sort -u)
events=$(sed -n 's/^\tX([A-Z_]*, "\([a-z]*_[a-z_]*\)").*/\1/p' daemon/base/emits.h)
[ -n "$verbs" ] && [ -n "$options" ] && [ -n "$events" ] || fail "found no words to look for"
for word in $verbs $options $events; do
	grep -q -w -e "$word" "$1/prochubctl.txt" || fail "prochubctl(1) does not have $word"
done
keys=$(sed -n 's/^\tOPT("\([a-z_.*]*\)".*/\1/p' conf/options.h)
[ -n "$keys" ] || fail "found no options to look for"
for key in $keys; do
	grep -q "^     $key\\( \\|$\\)" "$1/prochub.yaml.txt" || fail "prochub.yaml(5) does not have $key"
done
echo "man: pages accepted, all verbs, options and events are in them"
