#!/bin/sh
# The core decides and does nothing else: the archive of core, and what it takes from base, may
# call only the functions below. Plain build; sanitizers add symbols. usage: purity.sh BUILD
set -eu
build=$1
allowed='abort calloc ceil fnmatch free log malloc realloc reallocarray
memchr memcmp memcpy memmem memmove memrchr memset
qsort snprintf vsnprintf
stpcpy strchr strcmp strcpy strcspn strdup strlen strncmp strncpy strndup strnlen strpbrk strrchr
strspn strstr strtok_r strtol strtoll strtoul strtoull strcat strncat strerrordesc_np
isalnum isalpha isdigit isspace isxdigit
__assert_fail __ctype_b_loc __errno_location __stack_chk_fail
__memcpy_chk __memmove_chk __memset_chk __snprintf_chk __stpcpy_chk __strcat_chk __strcpy_chk
__strncat_chk __strncpy_chk __vsnprintf_chk __isoc99_sscanf
_GLOBAL_OFFSET_TABLE_'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# base as core links it: only the members that it asks for, found by linking them into one object
base=$(ls "$build"/daemon/base/*.o)
# shellcheck disable=SC2086 # a list of files
ar rcs "$work/base.a" $base
ld -r -o "$work/core.o" --whole-archive "$build/libcore.a" --no-whole-archive "$work/base.a"
nm -u "$work/core.o" | awk '{ print $NF }' | sort -u >"$work/used"
printf '%s\n' $allowed | sort -u >"$work/allowed"
comm -23 "$work/used" "$work/allowed" >"$work/foreign"
if [ -s "$work/foreign" ]; then
	while read -r symbol; do
		echo "purity: the core calls $symbol:" \
			"$(nm -A -u "$build/libcore.a" $base 2>/dev/null | grep -w "$symbol" |
				grep -o '[^:/]*\.o:' | tr -d : | sort -u | tr '\n' ' ')"
	done <"$work/foreign"
	exit 1
fi
echo "purity: $(wc -l <"$work/used") functions of libc in core, all of them pure"
