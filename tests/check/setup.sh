#!/bin/sh
# Installs the Debian packages of a list (a name a line, # comments). Nothing to do: nothing done.
set -eu
packages=$(sed 's/#.*//' "$1")
missing=
for package in $packages; do
	dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
		missing="$missing $package"
done
if [ -z "$missing" ]; then
	echo "setup: all packages of $1 are installed"
	exit 0
fi
if [ "$(id -u)" != 0 ]; then
	echo "setup: not root; missing:$missing" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -o Acquire::Retries=3 update
# shellcheck disable=SC2086 # a list of words
apt-get -o Acquire::Retries=3 install -y --no-install-recommends $missing
