#!/bin/sh
# Which libraries each program is linked with. usage: ldd.sh BUILD
set -eu
build=$1
status=0

# only PROGRAM LIBRARY...: it needs no others (libc, its loader and its parts are free)
only() {
	program=$1
	shift
	needed=$(ldd "$build/$program" | awk '{ print $1 }' |
		sed 's,.*/,,; s/\.so.*//' | grep -vxE 'linux-vdso|ld-linux.*|libc|libm|libpthread' || :)
	for library in $needed; do
		case " $* " in
		*" $library "*) ;;
		*)
			echo "ldd: $program must not be linked with $library"
			status=1
			;;
		esac
	done
}

only prochubd libevent_core-2.1 libevent_extra-2.1 libjansson libyaml-0 libsodium libxxhash
only prochub-bus libnanomsg libanl
only prochub-fence
only prochubctl libjansson libsmartcols
only libprochub.so libjansson
[ $status != 0 ] || echo "ldd: each program has its own libraries and no others"
exit $status
