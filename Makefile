# Everything a person runs here. `make help` lists it; nothing outside this folder is touched.
#
# The Python: PYTHON=/path/to/python if it is set, else an installed 3.14, 3.15 or 3.13 with
# headers, else Debian's 3.14, unpacked here by tools/get-python. VERSION=3.13, 3.14, 3.15 or
# 3.14-dbg asks for that one, in an environment and a build folder of its own.

ifdef VERSION
  NAME := $(VERSION)
  VENV := .venvs/$(NAME)
  FIND := tools/get-python $(subst -dbg, --debug,$(VERSION))
else ifdef PYTHON
  NAME := $(notdir $(PYTHON))-$(firstword $(shell printf %s '$(PYTHON)' | cksum))
  VENV := .venvs/$(NAME)
  FIND := PYTHON='$(PYTHON)' tools/get-python
else
  NAME := default
  VENV := .venv
  FIND := tools/get-python
endif

BUILD   := build/$(NAME)
REPORTS := reports
BIN     := $(VENV)/bin
SECONDS := 30

# The caches of pip and matplotlib stay in the checkout; meson and ninja are the environment's.
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONHOME PYTHONPATH PIP_REQUIRE_VIRTUALENV
with_tools := PATH="$(CURDIR)/$(BIN):$$PATH"
MESON := $(with_tools) $(BIN)/meson
# -W ignore: on a debug build, Python reports what pip leaves open.
pip := $(CURDIR)/$(BIN)/python -W ignore -m pip

mesons  := meson.build meson.options pyproject.toml $(wildcard src/*/meson.build tests/*/meson.build)
sources := $(mesons) $(shell find src aiointerpreters -name '*.[ch]' -o -name '*.py' -o -name '*.pyi' \
                             -o -name py.typed -o -name meson.build)
c_files := $(wildcard src/*/*.[ch] tests/check/*.[ch] tests/core/*.[ch] tests/fuzz/*.[ch] benchmarks/*.c)

.DELETE_ON_ERROR:
.PHONY: help demo test test-py test-safe test-cpython core tsan asan fuzz leaks bench bench-compare bench-show lint format \
        check check-stress check-sanitized check-valgrind check-faults check-exits check-forks check-soak check-stops \
        dev install sdist sdist-check clean distclean
.NOTPARALLEL:

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  with VERSION=3.13|3.14|3.15|3.14-dbg, or PYTHON=/path/to/python, for another Python"

# --- environment and build ---------------------------------------------------------------------

$(VENV)/.tools: pyproject.toml tools/make-venv tools/get-python
	@python=$$($(FIND)) && tools/make-venv "$$python" $(VENV) dev
	@touch $@

# A wheel, not an editable install: an import must never set off a build. The build folder stays,
# so that a change in one C file compiles one C file.
$(VENV)/.installed: $(VENV)/.tools $(sources)
	@mkdir -p $(BUILD) && touch $@.begun
	@echo "building and installing the wheel ($(BUILD))"
	@$(with_tools) flock $(BUILD) $(pip) install -qq --no-build-isolation -Cbuild-dir=$(BUILD) \
	    -Csetup-args=-Dwerror=true '.[examples]'
	@mv $@.begun $@

install: $(VENV)/.installed ## build a wheel and install it into .venv

dev: $(VENV)/.tools ## an editable install in .venv: an import rebuilds what changed
	@rm -f $(VENV)/.installed
	$(with_tools) $(pip) install -qq --no-build-isolation -Cbuild-dir=$(BUILD)-editable --editable '.[examples]'
	@echo "editable: run things with $(BIN)/python"

sdist: $(VENV)/.tools ## a source distribution in dist/
	@mkdir -p dist build
	$(with_tools) $(BIN)/python -m build --no-isolation --sdist --outdir dist
	@echo "building a wheel out of the sdist, away from the checkout"
	rm -rf build/sdist && mkdir build/sdist && tar -xzf $$(ls -t dist/*.tar.gz | head -1) -C build/sdist
	cd build/sdist/* && $(with_tools) $(pip) wheel -qq --no-build-isolation --no-deps --wheel-dir .. .
	@ls build/sdist/*.whl

# --- what it is for ----------------------------------------------------------------------------

demo: $(VENV)/.installed ## sums and a crawl: serial, threads, interpreters
	$(BIN)/python examples/sums.py
	$(BIN)/python examples/crawl.py

# Only the picture needs more than is installed anyway; without it the figures are as good.
$(VENV)/.bench: $(VENV)/.tools
	@$(pip) install -qq --only-binary=:all: --group bench && touch $@ \
	    || echo "no matplotlib can be had for this Python: the benchmark draws no picture"

bench: $(VENV)/.installed $(VENV)/.bench ## every executor in turn; ARGS='--quick --only submit' and the like
	$(BIN)/python benchmarks/run.py $(ARGS)
bench-compare: $(VENV)/.installed ## ratios of two results: A=one.json B=other.json
	$(BIN)/python benchmarks/compare.py $(A) $(B)
bench-show: $(VENV)/.installed $(VENV)/.bench ## the targets and the picture of a result: A=one.json
	$(BIN)/python benchmarks/targets.py $(A)
	$(BIN)/python benchmarks/plot.py $(A)

# --- tests -------------------------------------------------------------------------------------

test: core test-py test-cpython ## build everything and pass all tests on one Python
	@$(BIN)/python tools/count-tests build/core $(REPORTS)/py-$(NAME).xml $(REPORTS)/cpython-$(NAME).json

test-py: $(VENV)/.installed ## the tests of the package
	@mkdir -p $(REPORTS)
	$(BIN)/pytest --junitxml=$(REPORTS)/py-$(NAME).xml $(ARGS)

SAFE_TESTS := blocks everywhere exporters futures handover submit values
test-safe: $(VENV)/.installed ## tests of what AIOINTERPRETERS_SAFE=1 turns off, with it
	@mkdir -p $(REPORTS)
	AIOINTERPRETERS_SAFE=1 $(BIN)/pytest --junitxml=$(REPORTS)/py-safe.xml \
	    $(SAFE_TESTS:%=tests/py/test_%.py) $(ARGS)

test-cpython: $(VENV)/.installed ## CPython's own tests, with our executor in the place of its
	@mkdir -p $(REPORTS)
	@# Debian has CPython's `test` in a package of its own; an installed Python may lack it.
	@$(BIN)/python -c 'import test.test_concurrent_futures.util' 2>/dev/null \
	    || tests=$$(tools/get-python --tests \
	                $$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')) \
	    && PYTHONPATH=$$tests $(BIN)/python tests/cpython/run.py \
	           --json $(REPORTS)/cpython-$(NAME).json

sanitize := -Dbuildtype=debugoptimized -Db_lundef=false \
            -Dc_args='-fno-omit-frame-pointer -fno-sanitize-recover=all'
core_setup = $(MESON) setup $(@D) -Dcore_only=true -Dwerror=true

build/core/build.ninja: | $(VENV)/.tools
	$(core_setup)
build/tsan/build.ninja: | $(VENV)/.tools
	$(core_setup) $(sanitize) -Db_sanitize=thread
build/asan/build.ninja: | $(VENV)/.tools
	$(core_setup) $(sanitize) -Db_sanitize=address,undefined
build/fuzz/build.ninja: | $(VENV)/.tools
	$(core_setup) $(sanitize) -Db_sanitize=address,undefined -Dfuzz=true

core: build/core/build.ninja ## the core's tests, as it ships
	$(MESON) test -C $(<D) --print-errorlogs --suite core
tsan: build/tsan/build.ninja ## the core's tests under ThreadSanitizer
	$(MESON) test -C $(<D) --print-errorlogs --suite core
asan: build/asan/build.ninja ## the core's tests under AddressSanitizer and UBSan
	$(MESON) test -C $(<D) --print-errorlogs --suite core
fuzz: build/fuzz/build.ninja ## the core's fuzz targets, SECONDS=30 each
	$(MESON) test -C $(<D) --print-errorlogs --suite fuzz --test-args=-max_total_time=$(SECONDS)

leaks: ## references and memory blocks over repeated runs, on a debug build of 3.14
	$(MAKE) VERSION=3.14-dbg leaks-here
leaks-here: $(VENV)/.installed
	$(BIN)/python tests/py/leaks.py
	@# Without the hooks of a debug build memory changes interpreters.
	PYTHONMALLOC=pymalloc $(BIN)/python tests/py/leaks.py -k handed

# --- checks that take longer; SHORT=1 for a few minutes of them, SEED=n to repeat a run ------------

ifdef SHORT
  STRESS := 10
  # Not what forks, since the sanitizer's allocator may be locked by another thread; nor what limits or measures memory.
  SANITIZED := tests/py/test_submit.py tests/py/test_memoryview.py tests/py/test_blocks.py \
               tests/py/test_handover.py tests/py/test_exporters.py tests/py/test_futures.py \
               tests/py/test_delivery.py tests/py/test_stopping.py -k "not fork and not no_memory and not second_copy"
  VALGRIND :=
  FAULTS := --step 10
  EXITS := 60
  FORKS := 24
  TASKS := 50000
  STOPS := 1000
else
  STRESS := 120
  SANITIZED :=
  # Not what forks, starts a Python or limits its memory.
  VALGRIND := tests/py/test_memoryview.py tests/py/test_exporters.py tests/py/test_handover.py \
              tests/py/test_blocks.py -k "not fork and not no_memory and not second_copy and not under_load \
              and not allocators and not traced and not moved_memory and not numpy and not arrow"
  FAULTS := --memory 20
  EXITS := 1000
  FORKS := 200
  TASKS := 1000000
  STOPS := 10000
endif
seeded := $(if $(SEED),--seed $(SEED))

check: ## everything that is longer than `make test`: an hour, or SHORT=1
	$(MAKE) check-stress check-valgrind check-sanitized check-faults check-soak check-stops leaks
	for version in 3.13 3.14 3.15; do \
	    $(MAKE) VERSION=$$version check-exits check-forks test-cpython || exit 1; \
	done

check-stress: build/tsan/build.ninja ## random lives of the core under ThreadSanitizer
	$(with_tools) ninja -C $(<D) --quiet tests/core/stress
	TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 timeout $$(($(STRESS) * 2 + 120)) \
	    $(<D)/tests/core/stress $(STRESS) $(SEED)
check-sanitized: $(VENV)/.installed ## the package's tests under AddressSanitizer and UBSan
	timeout 3600 tests/check/sanitized.sh $(VENV) build/sanitized/$(NAME) $(SANITIZED)
check-valgrind: build/core/build.ninja $(VENV)/.installed ## tests of the core and of memory under valgrind, where it is installed
	timeout 3600 tests/check/valgrind.sh $(VENV) $(<D) $(VALGRIND)
check-faults: $(VENV)/.installed ## each allocation, thread, interpreter and lock fails in turn
	@mkdir -p $(REPORTS)
	timeout 3600 $(BIN)/python tests/check/faults.py $(FAULTS) --json $(REPORTS)/faults-$(NAME).json
check-exits: $(VENV)/.installed ## processes that exit at a random moment in every way
	@mkdir -p $(REPORTS)
	timeout 3600 $(BIN)/python tests/check/exits.py --count $(EXITS) $(seeded) --json $(REPORTS)/exits-$(NAME).json
check-forks: $(VENV)/.installed ## forks amid busy workers
	@mkdir -p $(REPORTS)
	timeout 3600 $(BIN)/python tests/check/forks.py --count $(FORKS) $(seeded) --json $(REPORTS)/forks-$(NAME).json
check-soak: $(VENV)/.installed ## mixed tasks from eight threads and a loop; each ends once, memory flat
	@mkdir -p $(REPORTS)
	timeout 3600 $(BIN)/python tests/check/soak.py --tasks $(TASKS) $(seeded) --json $(REPORTS)/soak-$(NAME).json
check-stops: $(VENV)/.installed ## interruptions in a row; each hits its task, and no other
	@mkdir -p $(REPORTS)
	timeout 3600 $(BIN)/python tests/check/stops.py --count $(STOPS) $(seeded) --json $(REPORTS)/stops-$(NAME).json

# --- style -------------------------------------------------------------------------------------

lint: $(VENV)/.tools ## clang-format, ruff, mypy, and the rules of the rooms
	$(BIN)/clang-format --dry-run -Werror $(c_files)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	tools/check-rooms . -- $(or $(CC),cc)

format: $(VENV)/.tools ## let clang-format and ruff rewrite the sources
	$(BIN)/clang-format -i $(c_files)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove what was built, but no Python and no environment
	rm -rf build dist $(REPORTS) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -f .venv/.installed .venvs/*/.installed

distclean: clean ## remove the environments and the unpacked Pythons, too
	rm -rf .venv .venvs .pythons .cache
