#!/usr/bin/env bash
# The core's tests under valgrind's memcheck: no bad access, no use of what was never set, no leak.
#
#   tests/check/valgrind.sh VENV BUILD
#
# The extension is left to AddressSanitizer: valgrind does not start a Python whose dynamic loader has
# no symbols, as those that tools/get-python unpacks. Prints why, and succeeds, where valgrind is not
# installed (Debian: apt-get install valgrind libc6-dbg).
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH=$PWD/$1/bin:$PATH
if ! command -v valgrind >/dev/null; then
    echo "skipped: no valgrind here (Debian: apt-get install valgrind libc6-dbg)"
    exit 0
fi
if ! valgrind -q true 2>/dev/null; then
    echo "skipped: valgrind cannot run here (Debian: apt-get install libc6-dbg)"
    exit 0
fi
# One thread at a time, so the tests that are about speed of many threads take long.
exec meson test -C "$2" --suite core --print-errorlogs --num-processes 2 --timeout-multiplier 8 \
    --logbase valgrind \
    --wrapper 'valgrind --quiet --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --fair-sched=yes' \
    aside calling combine fstate lend list makers os visits wire
