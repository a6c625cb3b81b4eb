#!/bin/bash
# clang-tidy over the sources of the programs, several at a time, then cppcheck.
# usage: lint.sh JOBS FILE.c... -- COMPILER-FLAG...
set -u
jobs=$1
shift
files=()
while [ "$1" != -- ]; do
	case $1 in
	tests/*) ;; # what Check's macros become is not ours to mend
	*) files+=("$1") ;;
	esac
	shift
done
shift
export flags="$*"
status=0

echo "lint: clang-tidy, ${#files[@]} files"
printf '%s\n' "${files[@]}" | xargs -n 1 -P "$jobs" sh -c \
	'clang-tidy --quiet "$1" -- -std=gnu11 $flags 2>/dev/null' lint || status=1

# uninitvar and uninitdata do not see through uthash's loops; *Called ask for thread-safe forms of
# functions that one thread calls; an anonymous mmap has the descriptor -1
echo "lint: cppcheck"
cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr -j "$jobs" \
	--enable=warning,performance,portability --suppress=missingIncludeSystem \
	--suppress=unknownMacro --suppress=uninitvar --suppress=uninitdata \
	--suppress=getgrnamCalled --suppress=getpwnamCalled --suppress=getgrgidCalled \
	--suppress=getpwuidCalled --suppress=readdirCalled \
	--suppress=invalidFunctionArg:daemon/io/spawn_clone.c --suppress=memleak:daemon/io/journal_file.c \
	--suppress=arrayIndexThenCheck:proto/codec_write.c \
	--library=posix -D_GNU_SOURCE -DPH_VERSION='""' -DPH_LIBEXEC='""' -I. -Idaemon -Ilib \
	"${files[@]}" || status=1
[ $status != 0 ] || echo "lint: nothing found"
exit $status
