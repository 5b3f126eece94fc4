#!/usr/bin/env bash
# Under valgrind's memcheck: no bad access, no use of what was never set. The core's tests, which must not leak
# either; and with FILES the package's tests in these, such as those of memory that is lent and handed over.
#
#   tests/check/valgrind.sh VENV BUILD [FILES AND OPTIONS OF PYTEST]
#
# Prints why, and succeeds, where valgrind is not installed (Debian: apt-get install valgrind libc6-dbg).
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=$PWD/$1 build=$2
shift 2
PATH=$venv/bin:$PATH
if ! command -v valgrind >/dev/null; then
    echo "skipped: no valgrind here (Debian: apt-get install valgrind libc6-dbg)"
    exit 0
fi
if ! valgrind -q true 2>/dev/null; then
    echo "skipped: valgrind cannot run here (Debian: apt-get install libc6-dbg)"
    exit 0
fi
# One thread at a time, so the tests that are about speed of many threads take long.
meson test -C "$build" --suite core --print-errorlogs --num-processes 2 --timeout-multiplier 8 \
    --logbase valgrind \
    --wrapper 'valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --fair-sched=yes' \
    aside calling combine fstate lend list makers os visits wire
[ $# -gt 0 ] || exit 0

# A Python that tools/get-python has unpacked lacks the symbols of its dynamic loader, which valgrind needs.
version=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $(readlink -f "$venv/bin/python") in
"$PWD"/.pythons/*) tools/get-python "$version" --symbols >/dev/null ;;
esac
# valgrind does not know the C library's functions for these, which read past the ends of strings.
export GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-EVEX
valgrind --quiet --error-exitcode=9 --fair-sched=yes "$venv/bin/python" "$venv/bin/pytest" -q \
    -p no:cacheprovider -o timeout=0 -o faulthandler_timeout=0 "$@"
