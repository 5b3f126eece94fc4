#!/usr/bin/env bash
# The package's tests on an extension built with AddressSanitizer and UBSan.
#
#   tests/check/sanitized.sh VENV BUILD [PYTEST ARGUMENT...]
#
# VENV is an environment of the checkout, BUILD the folder for the extension. Any report of a sanitizer
# ends its process, and so fails a test. Leaks are looked for elsewhere (`make leaks`): Python itself
# leaves much allocated at its end. tests/check/suppressions.txt says what is not reported, and why.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=$1 build=$2
shift 2
PATH=$PWD/$venv/bin:$PATH
cc=${CC:-cc}

preload=
for name in libasan.so libubsan.so; do
    library=$(readlink -f "$("$cc" -print-file-name=$name)")
    [ -e "$library" ] || { echo "skipped: $cc has no $name"; exit 0; }
    preload="$preload $library"
done

if [ ! -e "$build/build.ninja" ]; then
    meson setup "$build" -Dwerror=true -Dbuildtype=debugoptimized -Db_lundef=false \
        -Db_sanitize=address,undefined \
        -Dc_args='-fno-omit-frame-pointer -fno-sanitize-recover=all' \
        --prefix=/ -Dpython.platlibdir=/site -Dpython.purelibdir=/site >/dev/null
fi
ninja -C "$build" --quiet
DESTDIR=$PWD/$build/root meson install -C "$build" --no-rebuild --quiet

[ $# -gt 0 ] || set -- tests/py --ignore=tests/py/test_benchmarks.py \
    --ignore=tests/py/test_check.py --ignore=tests/py/test_cpython_run.py --ignore=tests/py/test_readme.py \
    --ignore=tests/py/test_tools.py --ignore=tests/py/test_typing.py
mkdir -p reports
report=reports/sanitized-$(basename "$build").xml
# In the test's processes only: the tools that start them are not looked at.
exec env LD_PRELOAD="$preload" PYTHONMALLOC=malloc PYTHONPATH="$PWD/$build/root/site" \
    ASAN_OPTIONS="detect_leaks=0:abort_on_error=1:detect_stack_use_after_return=1:suppressions=$PWD/tests/check/suppressions.txt" \
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:abort_on_error=1 \
    "$venv/bin/pytest" -q -p no:cacheprovider --timeout 120 --junitxml="$report" "$@"
