# prochub: one Makefile. `make help` lists the targets.
VARIANT ?= release
B := build/$(VARIANT)
PREFIX ?= /usr/local
DESTDIR ?=
CC ?= gcc
PYTHON ?= /usr/bin/python3
VERSION := 0.1.0
LIBEXEC := $(PREFIX)/libexec/prochub

WARN := -std=gnu11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion \
	-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wcast-qual \
	-Wcast-align -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wswitch-enum -Wimplicit-fallthrough \
	-Wnull-dereference -Wdouble-promotion -Werror
ifeq ($(VARIANT),asan)
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
LINK := -fsanitize=address,undefined
else
OPT := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection
LINK := -pie -Wl,-z,relro,-z,now
endif
CFLAGS ?= $(OPT)
PKGS := libevent_core jansson yaml-0.1 libsodium libxxhash smartcols nanomsg check
CPPFLAGS += -D_GNU_SOURCE -DPH_VERSION='"$(VERSION)"' -DPH_LIBEXEC='"$(LIBEXEC)"' -I. -Idaemon -Ilib \
	$(shell pkg-config --cflags $(PKGS) 2>/dev/null)
libs = $(shell pkg-config --libs $(1) 2>/dev/null)

# ---- layers: a wildcard each
SEAL_SRC := $(wildcard proto/seal*.c proto/envelope*.c)
PROTO_SRC := $(filter-out $(SEAL_SRC),$(wildcard proto/*.c))
BASE_SRC := $(wildcard daemon/base/*.c)
CORE_SRC := $(wildcard daemon/core/*.c)
CONF_SRC := $(wildcard conf/*.c)
IO_SRC := $(wildcard daemon/io/*.c)
SHELL_SRC := $(wildcard daemon/shell*.c)
BUS_SRC := $(wildcard daemon/bus/*.c)
CTL_SRC := $(wildcard daemon/ctl/*.c)
LIB_SRC := $(wildcard lib/*.c)
SIM_SRC := $(wildcard tests/sim/*.c)
EXAMPLES := $(patsubst lib/examples/%.c,$(B)/%,$(wildcard lib/examples/*.c))
UNIT := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))
obj = $(patsubst %.c,$(B)/%.o,$(1))

PROGRAMS := $(B)/prochubd $(B)/prochub-bus $(B)/prochubctl $(B)/libprochub.so $(B)/libprochub.a $(EXAMPLES)
all: $(PROGRAMS)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(WARN) $(CFLAGS) -fPIC -MMD -MP -c -o $@ $<

$(B)/libcore.a: $(call obj,$(CORE_SRC))
	@rm -f $@; $(AR) rcs $@ $^
$(B)/libhub.a: $(call obj,$(SHELL_SRC) $(IO_SRC) $(CONF_SRC) $(CORE_SRC) $(PROTO_SRC) $(SEAL_SRC) $(BASE_SRC))
	@rm -f $@; $(AR) rcs $@ $^
$(B)/libwire.a: $(call obj,$(PROTO_SRC) $(BASE_SRC))
	@rm -f $@; $(AR) rcs $@ $^

HUB_LIBS = $(call libs,libevent_core jansson yaml-0.1 libsodium libxxhash) -lpthread
$(B)/prochubd: $(call obj,daemon/main.c) $(B)/libhub.a
	$(CC) $(LINK) $(LDFLAGS) -o $@ $^ $(HUB_LIBS)
$(B)/prochub-bus: $(call obj,$(BUS_SRC) $(BASE_SRC))
	$(CC) $(LINK) $(LDFLAGS) -o $@ $^ $(call libs,nanomsg)
$(B)/prochubctl: $(call obj,$(CTL_SRC)) $(B)/libwire.a
	$(CC) $(LINK) $(LDFLAGS) -o $@ $^ $(call libs,jansson smartcols)
$(B)/libprochub.a: $(call obj,$(LIB_SRC) $(PROTO_SRC) $(BASE_SRC))
	@rm -f $@; $(AR) rcs $@ $^
$(B)/libprochub.so: $(call obj,$(LIB_SRC) $(PROTO_SRC) $(BASE_SRC)) lib/libprochub.map
	$(CC) -shared $(filter-out -pie,$(LINK)) $(LDFLAGS) -Wl,-soname,libprochub.so.0 -Wl,--version-script=lib/libprochub.map -o $@ $(filter %.o,$^) $(call libs,jansson)
$(EXAMPLES): $(B)/%: $(B)/lib/examples/%.o $(B)/libprochub.a
	$(CC) $(LINK) $(LDFLAGS) -o $@ $^ $(call libs,jansson)
$(B)/unit/%: $(B)/tests/unit/%.o $(B)/libhub.a $(B)/libprochub.a
	@mkdir -p $(@D)
	$(CC) $(LINK) $(LDFLAGS) -o $@ $^ $(HUB_LIBS) $(call libs,check)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.PHONY: all
