# make run | edit | test | beside | callers | kubernetes | machines | vm | validation | bench | bench-sandbox | profile | fuzz [TIME=SECONDS] | mutate [MUTANTS=…] | wrong [WRONG=…] | attack [ATTACK=…] | lint | ci | install PREFIX=DIR | wheels | deb | clean

# The system's interpreter, not a shim in front of it: its start is part of every command.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
PREFIX ?= /usr/local
VENV := .venv
WHEEL := .cache/wheel
HELLO := .cache/hello

BUILD_PACKAGES := gcc libc6-dev libffi-dev libseccomp-dev python3-dev python3-venv busybox-static
TEST_PACKAGES := crun dbus e2fsprogs iproute2 procps runc strace systemd umoci zstd
# Packages of their own from Debian 13 on.
DOCKER_CLI = $(shell . /etc/os-release; test "$$ID" = debian -a "$${VERSION_ID:-99}" -gt 12 && echo docker-cli docker-buildx)
CALLERS_PACKAGES = buildah catatonit conmon containerd containernetworking-plugins debootstrap docker-compose docker.io fish \
	podman skopeo uidmap zsh $(DOCKER_CLI)
MACHINES_PACKAGES := debootstrap
VM_PACKAGES := debootstrap e2fsprogs qemu-system-x86
# Any Go will do; one that is too old gets a newer one.
GO_PACKAGES = ca-certificates $(if $(shell PATH=$$PATH:/usr/local/go/bin command -v go),,golang-go)
BENCH_PACKAGES := bubblewrap crun runc
PROFILE_PACKAGES := linux-perf strace

SOURCES := setup.py setup.cfg pyproject.toml $(shell find csrc pyruntime spec-fixtures/schema -type f \
	-not -path '*/__pycache__/*' -not -name '_checks.py' -not -name '_schemas.py')

.PHONY: all edit run same-python prefix test beside callers kubernetes machines vm validation check bench bench-sandbox profile fuzz mutate wrong attack lint ci install wheels deb clean
.PHONY: build-packages test-packages callers-packages machines-packages vm-packages validation-packages bench-packages
.NOTPARALLEL:

# Whoever names a Python gets that one, or is told why not.
all: $(if $(filter-out file,$(origin PYTHON)),$(if $(wildcard $(VENV)/bin/python),same-python)) $(VENV)/built
	@$(VENV)/bin/pyruntime --version | sed -n 's/^start: interpreter/note: pyruntime starts slower than it could/p'

# The package as links to the sources, beside what was built once: an edit of Python is tried without a build.
EDIT := .cache/edit

edit:
	@test -e $(VENV)/built || $(MAKE) all
	@rm -rf $(EDIT) && mkdir -p $(EDIT)
	@cp -R $(VENV)/lib/python3*/site-packages/pyruntime $(EDIT)
	@cp -Rsf "$(CURDIR)/pyruntime" $(EDIT)
	@printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s" -m pyruntime "$$@"\n' '$(CURDIR)/$(EDIT)' '$(CURDIR)/$(VENV)/bin/python' >$(EDIT)/run
	@chmod +x $(EDIT)/run
	@echo "$(CURDIR)/$(EDIT)/run is pyruntime from the sources; PYTHONPATH='$(CURDIR)/$(EDIT)' lets pytest test them"

run: all
	@$(VENV)/bin/python tests/support/bundle.py $(HELLO)
	@$(VENV)/bin/pyruntime --root "$(CURDIR)/.cache/root" run --bundle $(HELLO) hello-$$$$

# These need much more than the others, and have targets of their own.
APART := callers machines vm validation
TESTS ?= tests $(APART:%=--ignore=tests/%)

test: test-packages all $(VENV)/tools
	$(VENV)/bin/pytest $(TESTS) $(TESTFLAGS)

# What a process sees under pyruntime, runc and crun: docs/deviations.md.
beside: test-packages all $(VENV)/tools
	$(VENV)/bin/pytest tests/beside $(TESTFLAGS)

$(APART): %: %-packages all $(VENV)/tools
	$(VENV)/bin/pytest tests/$@ --ignore=$(KUBERNETES) $(TESTFLAGS)

# A kubelet takes five minutes of processor time to build: by hand only.
KUBERNETES := tests/callers/kubernetes

kubernetes: callers-packages all $(VENV)/tools
	$(VENV)/bin/pytest $(KUBERNETES) $(TESTFLAGS)

# One run of pytest for everything: its last line counts all tests. With CI=true only Debian 13 of the machines.
check: test-packages callers-packages vm-packages validation-packages machines-packages all $(VENV)/tools
	$(VENV)/bin/pytest tests --ignore=tests/machines/test_packages.py --ignore=$(KUBERNETES) $(TESTFLAGS)

bench: bench-packages all
	$(VENV)/bin/python tests/bench/bench.py $(BENCHFLAGS)

bench-sandbox: bench-packages all
	$(VENV)/bin/python tests/bench/sandbox.py $(BENCHFLAGS)

# What one verb costs, and where: make profile VERB=state
profile: bench-packages all
	$(call need,$(PROFILE_PACKAGES))
	$(VENV)/bin/python tests/bench/one_verb.py $(VERB)

# Seconds for all targets together: docs/testing.md.
TIME ?= 300

fuzz: all $(VENV)/fuzz-tools
	$(VENV)/bin/python tests/fuzz/fuzz.py --time $(TIME) $(TARGETS)

# Which mutants: mutmut's names, with * for any part: docs/testing.md.
MUTANTS ?= "pyruntime.plan.*" "pyruntime.spec.*"
MUTATED := .cache/mutate

mutate: all $(VENV)/tools $(VENV)/mutate-tools
	rm -rf $(MUTATED) && mkdir -p $(MUTATED)
	cp -a $(VENV)/lib/python3*/site-packages/pyruntime tests spec-fixtures csrc docs examples generate $(MUTATED)
	cp -a setup.cfg setup.py Makefile README.md $(MUTATED)
	cd $(MUTATED) && export PATH="$(CURDIR)/$(VENV)/bin:$$PATH" && \
		nice -n 19 python tests/mutate/mutate.py run --max-children 2 $(MUTANTS) && mutmut results

# Which wrong runtimes: names with * for any part, and how many at once: docs/testing.md.
WRONG ?= "*"
JOBS ?= 2

wrong: test-packages all $(VENV)/tools
	$(VENV)/bin/python tests/wrong/wrong.py --jobs $(JOBS) $(WRONG)

# What to attack, and how long: options of tests/attack/attack.py, docs/testing.md.
ATTACK ?= --jobs 2

attack: test-packages all
	$(VENV)/bin/python tests/attack/attack.py $(ATTACK)

lint: all $(VENV)/tools
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

ci:
	.ci/run

# A tree of its own, so that it meets no other Python packages; the program finds it beside itself.
install: prefix all
	$(VENV)/bin/pip install --quiet --ignore-installed --no-warn-script-location \
		--prefix "$(DESTDIR)$(PREFIX)/lib/pyruntime" $(WHEEL)/*.whl
	ln -sf ../lib/pyruntime/bin/pyruntime "$(DESTDIR)$(PREFIX)/bin/pyruntime"
	$(VENV)/bin/python generate/share.py "$(DESTDIR)$(PREFIX)/share"

prefix:
	@for place in lib bin share; do \
		mkdir -p "$(DESTDIR)$(PREFIX)/$$place" 2>/dev/null && test -w "$(DESTDIR)$(PREFIX)/$$place" || { \
		echo "cannot write to $(DESTDIR)$(PREFIX)/$$place: choose another place, as in  make install PREFIX=DIR" >&2; \
		exit 1; }; done

# For others: into dist/, from the roots of tests/machines.
wheels deb: machines-packages
	$(need-python)
	"$(PYTHON)" packaging/$@.py

clean:
	rm -rf $(VENV) .cache build *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The recipe ends here if PYTHON names no Python that can be used.
define need-python
	@case "$(PYTHON)" in */*) path="$(PYTHON)";; *) path=$$(command -v "$(PYTHON)");; esac; \
	if test -z "$$path"; then why="is not in PATH"; \
	elif test ! -e "$$path"; then why="does not exist"; \
	elif test -d "$$path"; then why="is a directory"; \
	elif test ! -x "$$path"; then why="is not executable"; \
	elif test "$$("$$path" -c 'import sys; print(sys.version_info >= (3, 10))' 2>/dev/null)" != True; then \
		why="is no Python 3.10 or later"; \
	else exit 0; fi; \
	echo "PYTHON=$(PYTHON) $$why: name a Python 3.10 or later, as in  make PYTHON=/usr/bin/python3" >&2; exit 1
endef

same-python:
	$(need-python)
	@which='import sys; print(sys.base_prefix, *sys.version_info[:3])'; \
	test "$$($(VENV)/bin/python -c "$$which")" = "$$("$(PYTHON)" -c "$$which")" || { \
		echo "$(VENV) has another Python than PYTHON=$(PYTHON): run  make clean  first" >&2; exit 1; }

$(VENV)/bin/pip: | build-packages
	$(need-python)
	@"$(PYTHON)" csrc/build/interpreter.py
	"$(PYTHON)" -m venv $(VENV)
	$(VENV)/bin/pip install --quiet 'setuptools>=77' wheel 'cffi>=1.15'

# The build tools stay in the environment, so that a build after a change does not get them again.
$(VENV)/built: $(SOURCES) | $(VENV)/bin/pip
	@$(VENV)/bin/python csrc/build/interpreter.py
	rm -rf build $(WHEEL)
	$(VENV)/bin/pip wheel --quiet --no-build-isolation --no-deps --wheel-dir $(WHEEL) .
	$(VENV)/bin/pip install --quiet --force-reinstall --no-deps $(WHEEL)/*.whl
	$(VENV)/bin/pip install --quiet $(WHEEL)/*.whl
	@touch $@

$(VENV)/tools: setup.cfg | $(VENV)/built
	$(VENV)/bin/pip install --quiet "$$(echo $(WHEEL)/*.whl)[test,callers,lint]"
	@touch $@

$(VENV)/mutate-tools: setup.cfg | $(VENV)/built
	$(VENV)/bin/pip install --quiet "$$(echo $(WHEEL)/*.whl)[mutate]"
	@touch $@

$(VENV)/fuzz-tools: setup.cfg | $(VENV)/built
	$(VENV)/bin/pip install --quiet "$$(echo $(WHEEL)/*.whl)[test,fuzz]"
	@touch $@

# Nothing is run while all is there. Root installs what is missing; others are told how.
define need
	@missing=$$(for package in $(1); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || echo $$package; done); \
	test -z "$$missing" && exit 0; \
	if test $$(id -u) -ne 0; then echo "missing: run this first:  sudo apt-get install -y" $$missing >&2; exit 1; fi; \
	echo "installing" $$missing; export DEBIAN_FRONTEND=noninteractive; \
	apt-get install -y --no-install-recommends $$missing >/dev/null 2>&1 || \
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null; }
endef

build-packages:
	$(call need,$(BUILD_PACKAGES))

# With those of the build, so that whoever is told what is missing is told once.
test-packages:
	$(call need,$(BUILD_PACKAGES) $(TEST_PACKAGES))

callers-packages:
	$(call need,$(BUILD_PACKAGES) $(TEST_PACKAGES) $(GO_PACKAGES) $(CALLERS_PACKAGES))

machines-packages:
	$(call need,$(BUILD_PACKAGES) $(TEST_PACKAGES) $(MACHINES_PACKAGES))

vm-packages:
	$(call need,$(BUILD_PACKAGES) $(TEST_PACKAGES) $(GO_PACKAGES) $(VM_PACKAGES))

validation-packages:
	$(call need,$(BUILD_PACKAGES) $(TEST_PACKAGES) $(GO_PACKAGES))

bench-packages:
	$(call need,$(BUILD_PACKAGES) $(BENCH_PACKAGES))
