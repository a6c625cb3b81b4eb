# prochub: one Makefile. `make help` lists the targets.
VARIANT ?= release
B := build/$(VARIANT)
PREFIX ?= /usr/local
DESTDIR ?=
PYTHON ?= /usr/bin/python3
ifeq ($(origin CC),default)
CC := gcc
endif
VERSION := 0.1.0
LIBEXEC := $(PREFIX)/libexec/prochub
SEEDS ?= 1..2000

WARN := -std=gnu11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
	-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wcast-qual \
	-Wcast-align -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wswitch-enum -Wimplicit-fallthrough \
	-Wnull-dereference -Wdouble-promotion -Werror
OPT_release := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong \
	-fstack-clash-protection
LINK_release := -pie -Wl,-z,relro,-z,now
OPT_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=undefined
LINK_asan := -fsanitize=address,undefined
OPT_coverage := -O0 -g --coverage
LINK_coverage := --coverage
CFLAGS ?= $(or $(OPT_$(VARIANT)),$(OPT_release))
LINK := $(or $(LINK_$(VARIANT)),$(LINK_release))

# pkg-config is asked when the first recipe needs it, so `make setup demo` works where it is missing
once = $(eval $(1) := $$(shell $(2)))$($(1))
PKGS := libevent_core libevent_extra jansson yaml-0.1 libsodium libxxhash smartcols nanomsg check
PKG_CFLAGS = $(call once,PKG_CFLAGS,pkg-config --cflags $(PKGS) 2>/dev/null)
INC = -D_GNU_SOURCE '-Duthash_fatal(msg)=abort()' -DPH_VERSION='"$(VERSION)"' -I. -Idaemon -Ilib $(PKG_CFLAGS)
libs = $(shell pkg-config --libs $(1))

# ---- layers: a wildcard each
SEAL_SRC := $(wildcard proto/seal*.c proto/envelope*.c)
PROTO_SRC := $(filter-out $(SEAL_SRC),$(wildcard proto/*.c))
BASE_SRC := $(wildcard daemon/base/*.c)
CORE_SRC := $(wildcard daemon/core/*.c)
CONF_SRC := $(wildcard conf/*.c)
IO_SRC := $(wildcard daemon/io/*.c)
SHELL_SRC := $(wildcard daemon/shell*.c)
BUS_SRC := $(wildcard daemon/bus/*.c)
FENCE_SRC := $(wildcard daemon/fence/*.c)
CTL_SRC := $(wildcard daemon/ctl/*.c)
LIB_SRC := $(wildcard lib/*.c)
SIM_SRC := $(wildcard tests/sim/*.c)
EXAMPLES := $(patsubst lib/examples/%.c,$(B)/%,$(wildcard lib/examples/*.c))
UNIT := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))
C_SRC := $(sort $(wildcard conf/*.[ch] daemon/*.[ch] daemon/*/*.[ch] lib/*.[ch] lib/*/*.[ch] \
	proto/*.[ch] tests/unit/*.[ch] tests/sim/*.[ch] tests/bench/*.c tests/vm/*.c))
obj = $(patsubst %.c,$(B)/%.o,$(1))

PROGRAMS := $(B)/prochubd $(B)/prochub-bus $(B)/prochub-fence $(B)/prochubctl \
	$(B)/libprochub.so $(B)/libprochub.a $(EXAMPLES)
MAN := $(B)/man/prochubd.8 $(B)/man/prochubctl.1 $(B)/man/prochub.yaml.5
COMPLETION := $(B)/completion.bash $(B)/completion.fish
all: $(PROGRAMS) $(MAN) $(COMPLETION) ## programs, library, manual pages and examples, into build/release; V=1 shows the commands

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "$(CC) $@";) $(CC) $(INC) $(CPPFLAGS) $(WARN) $(CFLAGS) -fPIC -MMD -MP -c -o $@ $<
# the one object that knows where prochub-bus and prochub-fence get installed
$(B)/daemon/shell_program.o: CPPFLAGS += -DPH_LIBEXEC='"$(LIBEXEC)"'
$(B)/daemon/shell_program.o: $(B)/libexec.txt
$(B)/libexec.txt: FORCE
	@mkdir -p $(@D); echo '$(LIBEXEC)' | cmp -s - $@ || echo '$(LIBEXEC)' >$@

archive = @rm -f $@; $(AR) rcs $@ $^
$(B)/libcore.a: $(call obj,$(CORE_SRC))
	$(archive)
$(B)/libhub.a: $(call obj,$(SHELL_SRC) $(IO_SRC) $(CONF_SRC) $(CORE_SRC) $(PROTO_SRC) $(SEAL_SRC) \
		$(BASE_SRC))
	$(archive)
$(B)/libwire.a: $(call obj,$(PROTO_SRC) $(BASE_SRC))
	$(archive)
$(B)/libprochub.a: $(call obj,$(LIB_SRC) $(PROTO_SRC) $(BASE_SRC))
	$(archive)

link = $(if $(V),,@echo "link $@";) $(CC) $(LINK) $(LDFLAGS) -o $@ $(filter %.o %.a,$^)
HUB_PKGS = $(call once,HUB_PKGS,pkg-config --libs libevent_core libevent_extra jansson yaml-0.1 libsodium libxxhash)
HUB_LIBS = $(HUB_PKGS) -lpthread -lm
$(B)/prochubd: $(call obj,daemon/main.c) $(B)/libhub.a
	$(link) $(HUB_LIBS)
$(B)/prochub-bus: $(call obj,$(BUS_SRC) $(BASE_SRC))
	$(link) $(call libs,nanomsg)
$(B)/prochub-fence: $(call obj,$(FENCE_SRC) $(BASE_SRC))
	$(link)
$(B)/prochubctl: $(call obj,$(CTL_SRC)) $(B)/libwire.a
	$(link) $(call libs,jansson smartcols)
$(B)/libprochub.so: $(call obj,$(LIB_SRC) $(PROTO_SRC) $(BASE_SRC)) lib/libprochub.map
	$(filter-out -pie,$(link)) -shared -Wl,-soname,libprochub.so.0 \
		-Wl,--version-script=lib/libprochub.map $(call libs,jansson)
$(EXAMPLES): $(B)/%: $(B)/lib/examples/%.o $(B)/libprochub.a
	$(link) $(call libs,jansson)
# lists of options and verbs in manual pages come from the tables of the programs
$(B)/options-doc: $(call obj,conf/doc/options_doc.c) $(B)/libhub.a
	$(link) $(HUB_LIBS)
$(B)/commands-doc: $(call obj,daemon/ctl/doc/commands_doc.c \
		$(filter-out %/main.c,$(CTL_SRC))) $(B)/libwire.a
	$(link) $(call libs,jansson smartcols)
$(B)/man/prochub.yaml.5: conf/prochub.yaml.5.in $(B)/options-doc
$(B)/man/prochubctl.1: daemon/ctl/prochubctl.1.in $(B)/commands-doc
$(B)/man/%:
	@mkdir -p $(@D)
	@$(filter %-doc,$^) <$(filter %.in,$^) >$@
$(B)/man/prochubd.8: daemon/prochubd.8
	@mkdir -p $(@D)
	@cp $< $@
$(COMPLETION): $(B)/completion.%: $(B)/prochubctl
	@$< completion $* >$@
SIM_OBJ = $(call obj,$(SIM_SRC)) $(B)/libcore.a $(B)/libwire.a
SIM_LIBS = -Wl,--as-needed $(call libs,jansson) -lm
$(B)/sim: $(SIM_OBJ)
	$(link) $(SIM_LIBS)
$(B)/unit/%: $(B)/tests/unit/%.o $(B)/libhub.a $(B)/libprochub.a
	@mkdir -p $(@D)
	$(link) $(HUB_LIBS) $(call libs,check)
$(UNIT): | $(B)/prochubd $(B)/prochub-bus $(B)/prochub-fence # some of them start these
TESTED := $(PROGRAMS) $(MAN) $(B)/libcore.a $(B)/sim $(UNIT)
tested: $(TESTED)

# ---- tests: each step builds in parallel, then runs in order
SUB = +@$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
RUN_UNIT = CK_FORK=$(CK_FORK) tests/check/unit.sh $(UNIT)
RUN_SIM = set -e; for partition in $(or $(PARTITION),divergence majority dynamic-quorum); do \
	echo "sim: $$partition"; $(B)/sim --partition $$partition \
	$(if $(SEED),--seeds $(SEED)..$(SEED),--seeds $(SEEDS)) \
	$(if $(NODES),--nodes $(NODES)) $(if $(TRACE),--trace); done
PYTEST = PYTHONDONTWRITEBYTECODE=1 PROCHUB_BUILD=$(abspath $(B)) \
	PYTHONPATH=$(abspath tests/check) $(PYTHON) -m pytest -q -p no:cacheprovider -p noskip
# most of an end-to-end test is waiting: three at once, whole files, whose tests may share a cluster
E2E = $(PYTEST) -n 3 --dist loadfile tests/e2e

setup: ## install what building and testing need (Debian 12, root): packages.txt
	@tests/check/setup.sh packages.txt
demo: ## build, then three daemons, twelve workers, a join, a move and a drain: under a minute
	$(SUB) all
	@$(PYTHON) -B tests/demo/demo.py --build $(B)
check: ## unit tests, simulation, checks of the source, end-to-end tests
	$(SUB) tested
	@$(RUN_UNIT)
	@$(PYTEST) tests/unit
	@$(PYTEST) tests/demo
	@$(RUN_SIM)
	@$(B)/sim --list tests/sim/seeds.txt
	@$(B)/sim --story heal --list tests/sim/seeds_heal.txt
	@$(B)/sim --partition majority --list tests/sim/seeds_majority.txt
	@$(B)/sim --story heal --seeds 1..2000
	@$(B)/sim --story cancel --seeds 1..1000
	@$(B)/sim --story forget --partition majority --seeds 1..1000
	@$(B)/sim --story forget --partition dynamic-quorum --list tests/sim/seeds_forget.txt
	@for s in member late own; do $(B)/sim --story $$s --list tests/sim/seeds_$$s.txt || exit 1; done
	@for s in cancel late member own; do $(B)/sim --story $$s --partition majority \
		--list tests/sim/seeds_$${s}_majority.txt || exit 1; done
	@for s in member own; do $(B)/sim --story $$s --partition static-quorum \
		--list tests/sim/seeds_$${s}_static.txt || exit 1; done
	@$(B)/sim --story member --seeds 1..1400
	@$(B)/sim --story late --seeds 1..2000
	@$(B)/sim --story own --seeds 1..2000
	@$(B)/sim --story swap --list tests/sim/seeds_swap.txt
	@$(B)/sim --story swap --partition static-quorum --list tests/sim/seeds_swap_quorum.txt
	@$(B)/sim --story group --list tests/sim/seeds_group.txt
	@$(B)/sim --story group --seeds 1..2000
	@$(B)/sim --story group --partition majority --seeds 1..1000
	@$(B)/sim --story swap --seeds 1..2000
	@$(B)/sim --story swap --partition majority --seeds 1..1200
	@$(B)/sim --story added --list tests/sim/seeds_added.txt
	@$(B)/sim --story added --seeds 1..2000
	@$(B)/sim --story added --partition majority --seeds 1..1000
	@$(B)/sim --story texts --list tests/sim/seeds_texts.txt
	@$(B)/sim --story texts --seeds 1..2000
	@$(B)/sim --story texts --partition majority --seeds 1..1000
	@$(B)/sim --twice --seeds 1..200
	@$(B)/sim --twice --story member --seeds 1..200
	@$(B)/sim --detect 10 50 50 1
	@$(B)/sim --calm 10 20 50 1
	@$(B)/sim --steady 10,100,300
	@$(B)/sim --steady 40 --each 100
	@tests/check/static.sh $(B)
	@tests/check/man.sh $(B)
	@MAKE='$(MAKE)' tests/check/install.sh
	@$(E2E)
check-all: ## check, and: sanitizers, clang, lint, deliberate defects, 10,000 node-hours, a virtual machine
	$(SUB) lint
	$(SUB) CC=clang VARIANT=clang tested
	+@$(MAKE) --no-print-directory asan
	+@$(MAKE) --no-print-directory check
	+@$(MAKE) --no-print-directory mutants
	@build/release/sim --calm 10 1000 50 1
	+@$(MAKE) --no-print-directory vm
sim: ## the simulator alone: SEEDS=1..2000, or SEED=7 NODES=3 TRACE=1 PARTITION=majority
	$(SUB) $(B)/sim
	@$(RUN_SIM)
LARGE = 10,100,300,1000
# gigabytes are looked at here and there: with large pages that takes a fifth less time
sim-large: export GLIBC_TUNABLES = glibc.malloc.hugetlb=1
sim-large: ## many hubs, up to 1000 with 100,000 children (20 minutes of a processor, 17 GB); or NODES=100 EACH=1000
	$(SUB) $(B)/sim
	@$(B)/sim --steady $(or $(NODES),$(LARGE)) --each $(or $(EACH),100)
mutants: export MUTANTS_CC = $(CC) $(INC) $(CPPFLAGS) $(CFLAGS) -fPIC
mutants: export MUTANTS_LINK = $(CC) $(LINK) $(LDFLAGS)
mutants: export MUTANTS_LINK_SIM = $(SIM_OBJ) $(SIM_LIBS)
mutants: export MUTANTS_LINK_UNIT = $(B)/libhub.a $(B)/libprochub.a $(HUB_LIBS) $(call libs,check)
mutants: ## deliberate defects: each must be caught; MUTANT='its name' for one
	$(SUB) $(B)/sim $(UNIT)
	@$(PYTHON) -B tests/mutants/mutants.py --build $(B) $(if $(MUTANT),'$(MUTANT)')
e2e: ## the end-to-end tests alone
	$(SUB) all
	@$(E2E)
VM_TESTS = tests/e2e/test_limits.py tests/e2e/test_users.py
vm: ## limits of memory, cpu and tasks, and users, in a virtual machine (qemu) that has cgroup v2: a minute
	$(SUB) all
	@$(PYTHON) -B tests/vm/vm.py --build $(B) $(VM_TESTS)
asan: ## simulation and unit tests under address and undefined-behaviour sanitizers
	$(SUB) VARIANT=asan tested
	@$(MAKE) --no-print-directory VARIANT=asan SEEDS=1..200 CK_FORK=no run-sim-unit
run-sim-unit:
	@$(RUN_SIM)
	@$(RUN_UNIT)
# not those that start processes (valgrind makes clone with shared memory a fork) or keep time
valgrind: ## unit tests under valgrind, minutes
	$(SUB) tested
	@CK_FORK=no tests/check/unit.sh --valgrind $(filter-out $(patsubst %,$(B)/unit/test_%,buslink \
		shell_bus fence spawn spawn_ahead io_child io_hook io_unixsock conf_hostile stream stream_faults),$(UNIT))
# children that cost as little as can be, so that it is the supervisor that is measured
BENCH := $(B)/bench/bare $(B)/bench/tiny
$(B)/bench/tiny: LDFLAGS += -static
$(BENCH): $(B)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(WARN) -O2 $(LDFLAGS) -o $@ $<
bench: ## prochubd beside a bare loop that starts the same 1000 children; BENCH_ARGS='--runs 5 --idle 2'
	$(SUB) all $(BENCH)
	@$(PYTHON) -B tests/bench/bench.py --build $(B) --bare $(B)/bench/bare --tiny $(B)/bench/tiny \
		$(BENCH_ARGS)
coverage: ## lines that unit tests and simulation reach, a line a file
	$(SUB) VARIANT=coverage CK_FORK=no tested
	@$(MAKE) --no-print-directory VARIANT=coverage SEEDS=1..200 CK_FORK=no run-sim-unit
	@$(PYTHON) -B tests/check/coverage.py build/coverage
lint: ## clang-tidy and cppcheck
	@tests/check/lint.sh $(shell nproc) $(filter %.c,$(C_SRC)) -- -DPH_LIBEXEC='""' $(INC)
format: ## clang-format everything
	@clang-format -i $(C_SRC)
format-check: ## does clang-format change anything?
	@clang-format --dry-run -Werror $(C_SRC)

# ---- installation: mode:source:place
PYDIR = $(PREFIX)/lib/$(if $(filter /usr,$(PREFIX)),python3,$(shell $(PYTHON) -c \
	'import sys; print("python%d.%d" % sys.version_info[:2])'))/dist-packages/prochub
INSTALLED = 755:$(B)/prochubd:$(PREFIX)/sbin/prochubd 755:$(B)/prochubctl:$(PREFIX)/bin/prochubctl \
	755:$(B)/prochub-bus:$(LIBEXEC)/prochub-bus \
	755:$(B)/prochub-fence:$(LIBEXEC)/prochub-fence \
	644:$(B)/libprochub.so:$(PREFIX)/lib/libprochub.so.0 \
	644:$(B)/libprochub.a:$(PREFIX)/lib/libprochub.a \
	$(foreach f,$(wildcard lib/prochub/*.h),644:$(f):$(PREFIX)/include/prochub/$(notdir $(f))) \
	644:$(B)/prochub.pc:$(PREFIX)/lib/pkgconfig/prochub.pc \
	$(foreach f,$(wildcard lib/python/prochub/*.py),644:$(f):$(PYDIR)/$(notdir $(f))) \
	644:$(B)/prochub.service:$(PREFIX)/lib/systemd/system/prochub.service \
	644:systemd/prochub.sysusers:$(PREFIX)/lib/sysusers.d/prochub.conf \
	644:systemd/prochub.tmpfiles:$(PREFIX)/lib/tmpfiles.d/prochub.conf \
	$(foreach f,$(MAN),644:$(f):$(PREFIX)/share/man/man$(subst .,,$(suffix $(f)))/$(notdir $(f))) \
	644:$(B)/completion.bash:$(PREFIX)/share/bash-completion/completions/prochubctl \
	644:$(B)/completion.fish:$(PREFIX)/share/fish/vendor_completions.d/prochubctl.fish \
	644:conf/prochub.yaml:$(PREFIX)/share/doc/prochub/prochub.yaml
D = $(DESTDIR)
$(B)/prochub.pc: lib/prochub.pc.in
$(B)/prochub.service: systemd/prochub.service.in
$(B)/prochub.pc $(B)/prochub.service: FORCE
	@sed 's|@PREFIX@|$(PREFIX)|g; s|@VERSION@|$(VERSION)|g' $(filter %.in,$^) >$@
install: all $(B)/prochub.pc $(B)/prochub.service ## into PREFIX (/usr/local), below DESTDIR if set
	@set -e; for f in $(INSTALLED); do IFS=:; set -- $$f; install -D -m $$1 $$2 '$(D)'$$3; done
	@ln -sf libprochub.so.0 '$(D)$(PREFIX)/lib/libprochub.so'
	@test -e '$(D)/etc/prochub/prochub.yaml' || \
		install -D -m 644 conf/prochub.yaml '$(D)/etc/prochub/prochub.yaml'
uninstall: ## remove what install installed; a changed configuration stays
	@set -e; for f in $(INSTALLED); do rm -f '$(D)'$${f##*:}; done
	@rm -f '$(D)$(PREFIX)/lib/libprochub.so'
	@cmp -s conf/prochub.yaml '$(D)/etc/prochub/prochub.yaml' && rm '$(D)/etc/prochub/prochub.yaml' || :
	@rm -rf '$(D)$(PYDIR)/__pycache__'
	@rmdir --ignore-fail-on-non-empty '$(D)$(PYDIR)' '$(D)$(LIBEXEC)' '$(D)$(PREFIX)/include/prochub' \
		'$(D)$(PREFIX)/share/doc/prochub' 2>/dev/null || :
dist: ## build/prochub-VERSION.tar.gz
	@mkdir -p build
	tar -czf build/prochub-$(VERSION).tar.gz --sort=name --owner=0 --group=0 --numeric-owner \
		--exclude=__pycache__ --exclude='*.pyc' --transform 's,^,prochub-$(VERSION)/,' \
		$(wildcard .ci .clang-format .clang-tidy .gitignore LICENSE README.md) \
		Makefile conf daemon lib packages.txt proto systemd tests
clean: ## remove build/
	rm -rf build
help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

FORCE:
.PHONY: FORCE all tested setup demo check check-all sim sim-large mutants e2e asan bench run-sim-unit \
	valgrind coverage lint format format-check install uninstall dist clean help vm
.DELETE_ON_ERROR:
.PRECIOUS: $(B)/%.o
-include $(shell find $(B) -name '*.d' 2>/dev/null)
