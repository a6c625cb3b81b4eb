#!/bin/sh
# Installs into an empty folder, looks at what came, lets systemd judge the unit, builds a worker
# against what was installed, and removes it again. Run from the top, after the build.
set -eu
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
make="${MAKE:-make} --no-print-directory PREFIX=/usr DESTDIR=$root"
unset MAKEFLAGS MFLAGS

fail() {
	echo "install: $*" >&2
	exit 1
}

$make install >"$root/log" 2>&1 || { cat "$root/log"; fail "make install failed"; }
rm "$root/log"
for file in sbin/prochubd bin/prochubctl libexec/prochub/prochub-bus \
	libexec/prochub/prochub-fence lib/libprochub.so lib/libprochub.so.0 lib/libprochub.a include/prochub/worker.h include/prochub/control.h lib/pkgconfig/prochub.pc \
	lib/python3/dist-packages/prochub/__init__.py lib/systemd/system/prochub.service \
	lib/sysusers.d/prochub.conf lib/tmpfiles.d/prochub.conf share/doc/prochub/prochub.yaml \
	share/man/man1/prochubctl.1 share/man/man5/prochub.yaml.5 share/man/man8/prochubd.8 \
	share/bash-completion/completions/prochubctl \
	share/fish/vendor_completions.d/prochubctl.fish; do
	[ -e "$root/usr/$file" ] || fail "/usr/$file is missing"
done
unit=$root/usr/lib/systemd/system/prochub.service
! grep -n '@' "$unit" || fail "something was not filled in"
# verify wants the programs where the unit names them
sed -E "s#^(ExecStart=|ExecStopPost=-)#\1$root#" "$unit" >"$root/prochub.service"
# an unknown word is only a warning to it, but an error here
systemd-analyze verify --man=no "$root/prochub.service" >"$root/said" 2>&1 &&
	! grep prochub "$root/said" || fail "systemd refuses the unit: $(cat "$root/said")"
rm "$root/prochub.service" "$root/said"
said=$(systemd-sysusers --dry-run "$root/usr/lib/sysusers.d/prochub.conf" 2>&1) ||
	fail "systemd refuses the sysusers file: $said"
mkdir "$root/tmpfiles"
systemd-tmpfiles --create --root="$root/tmpfiles" "$root/usr/lib/tmpfiles.d/prochub.conf" ||
	fail "systemd refuses the tmpfiles file"
rm -r "$root/tmpfiles"
"$root/usr/sbin/prochubd" -t -c "$root/etc/prochub/prochub.yaml" >/dev/null ||
	fail "the installed configuration is refused"
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$root/usr/lib/python3/dist-packages \
	"${PYTHON:-/usr/bin/python3}" -c 'import prochub' || fail "the Python module does not load"

export PKG_CONFIG_PATH="$root/usr/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$root"
# shellcheck disable=SC2046 # a list of flags
"${CC:-gcc}" -o "$root/counter" lib/examples/counter.c $(pkg-config --cflags --libs prochub) ||
	fail "a worker does not build against it"
LD_LIBRARY_PATH=$root/usr/lib ldd "$root/counter" | grep -q "$root/usr/lib/libprochub.so.0" ||
	fail "the worker is not linked with libprochub.so.0"
rm "$root/counter"
printf '%s\n' '#include <prochub/control.h>' '#include <prochub/worker.h>' \
	'int main(void) { prochub_control_close(prochub_control_open(0)); }' |
	"${CC:-gcc}" -Wall -Werror -o "$root/adds" -x c - $(pkg-config --cflags --libs prochub) ||
	fail "a program that adds children does not build against it"
rm "$root/adds"

$make uninstall >/dev/null
left=$(find "$root" ! -type d)
[ -z "$left" ] || fail "uninstall left $left"
echo "install: complete, unit accepted by systemd, a worker built against it, removed without a trace"
