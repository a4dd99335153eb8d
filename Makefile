# Gapura. `make` builds, `make test` installs what is missing and tests.
#
#   make SAN=1       build and test with AddressSanitizer and UBSan (in build-san/)
#   make bench       side by side with the peers          make fuzz SECONDS=30

ifeq ($(origin CC),default)
CC := gcc
endif
# One short line a file; V=1 shows the commands.
Q := $(if $(V),,@)
SAY = $(if $(V),@:,@echo "  $(1) $(2)")
SAN ?= 0
GAPURA_BENCH ?= ../shared/bench
BUILD ?= build$(if $(filter 1,$(SAN)),-san)
FOLDERS := core net mail smtp auth store spool policy ctl checks gate scan courier submit import authtool lab roles

WARN := -Wall -Wextra -Wshadow=local -Wformat=2 -Wformat-signedness -Wstrict-prototypes \
        -Wmissing-prototypes -Wundef -Wvla -Wcast-align -Wwrite-strings -Wimplicit-fallthrough \
        -Wnull-dereference -Wpointer-arith -Wold-style-definition
ifneq (,$(findstring gcc,$(shell $(CC) --version | head -1)))
WARN += -Wduplicated-cond -Wlogical-op -Wuse-after-free=2
endif
HARDEN := -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -fno-common \
          -ftrivial-auto-var-init=zero -fno-strict-overflow -fno-delete-null-pointer-checks -fPIE
ifeq ($(SAN),1)
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
else
OPT := -O2 -g -D_FORTIFY_SOURCE=2
endif
CPPFLAGS += -D_GNU_SOURCE -Isrc -I$(BUILD)/gen
CFLAGS += -std=gnu17 $(OPT) $(WARN) $(HARDEN) -ffile-prefix-map=$(CURDIR)=. -pthread
LDFLAGS += -pie -pthread -Wl,-z,relro,-z,now,-z,noexecstack $(if $(filter 1,$(SAN)),-fsanitize=address$(comma)undefined)
comma := ,
ifdef WERROR
CFLAGS += -Werror
endif
LIBS := -levent_core -levent_pthreads -lssl -lcrypto -lunbound -lsqlite3 -lldap -llber -lseccomp -lidn2 -ljansson -lmicrohttpd -lpsl -lexpat -lz -lm

SRC := $(foreach f,$(FOLDERS),$(wildcard src/$(f)/*.c))
LIBSRC := $(filter-out src/roles/main.c,$(SRC))
OBJ := $(SRC:src/%.c=$(BUILD)/obj/%.o)
LIBA := $(foreach f,$(FOLDERS),$(BUILD)/lib/lib$(f).a)
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
TOOLS := $(patsubst tests/support/%.c,$(BUILD)/tests/%,$(wildcard tests/support/*.c))

.PHONY: all man install install-files docs deps test test-long run bench fuzz clean unit lint format check-format
all: $(BUILD)/gapura

# Translations are compiled in.
$(BUILD)/gen/core/lang_%.inc: po/%.po tools/po-table
	@mkdir -p $(@D)
	$(Q)awk -f tools/po-table $< > $@.new && mv $@.new $@
$(BUILD)/obj/core/lang.o: $(BUILD)/gen/core/lang_id.inc

# So are the shipped profiles.
PROFILE_FILES := $(wildcard share/profiles/*.conf)
$(BUILD)/gen/policy/profiles.inc: $(PROFILE_FILES) tools/embed-files
	@mkdir -p $(@D)
	$(Q)awk -f tools/embed-files -v base=share/profiles/ $(PROFILE_FILES) > $@.new && mv $@.new $@
$(BUILD)/obj/policy/profile.o: $(BUILD)/gen/policy/profiles.inc

# So are the lab's data files.
LAB_FILES := $(wildcard share/lab/*.conf share/lab/providers/*.conf) share/lab/zone share/lab/people.txt
$(BUILD)/gen/lab/files.inc: $(LAB_FILES) tools/embed-files
	@mkdir -p $(@D)
	$(Q)awk -f tools/embed-files -v base=share/lab/ $(LAB_FILES) > $@.new && mv $@.new $@
$(BUILD)/obj/lab/files.o: $(BUILD)/gen/lab/files.inc

# And the courier's patterns of replies.
REPLY_FILES := $(sort $(wildcard share/replies/*.conf))
$(BUILD)/gen/courier/replies.inc: $(REPLY_FILES) tools/embed-files
	@mkdir -p $(@D)
	$(Q)awk -f tools/embed-files -v base=share/replies/ $(REPLY_FILES) > $@.new && mv $@.new $@
$(BUILD)/obj/courier/reply_class_default.o: $(BUILD)/gen/courier/replies.inc

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(call SAY,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

define LIB_RULE
$(BUILD)/lib/lib$(1).a: $(patsubst src/%.c,$(BUILD)/obj/%.o,$(filter src/$(1)/%,$(LIBSRC)))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call LIB_RULE,$(f))))

$(BUILD)/gapura: $(BUILD)/obj/roles/main.o $(LIBA)
	$(call SAY,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -Wl,--start-group $(LIBA) -Wl,--end-group $(LIBS)

# A unit test or a test tool is one file that links every folder (a missing floor still fails to
# link where it is called, and tools/check-layers holds the arrows).
$(BUILD)/tests/unit/%: tests/unit/%.c tests/unit/tap.h $(LIBA)
	@mkdir -p $(@D)
	$(call SAY,LD,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Itests/unit -MMD -MP -MF $@.d $< $(LDFLAGS) -o $@ -Wl,--start-group $(LIBA) -Wl,--end-group $(LIBS)
$(BUILD)/tests/%: tests/support/%.c $(LIBA)
	@mkdir -p $(@D)
	$(call SAY,LD,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Itests/unit -MMD -MP -MF $@.d $< $(LDFLAGS) -o $@ -Wl,--start-group $(LIBA) -Wl,--end-group $(LIBS)

# smtp_cases is a table over the runners in tests/support/lib.
SUPPORT_OBJ := $(patsubst tests/support/lib/%.c,$(BUILD)/obj/support/%.o,$(wildcard tests/support/lib/*.c))
SUITE_OBJ := $(filter $(BUILD)/obj/support/suite_%,$(SUPPORT_OBJ))
CASES_OBJ := $(filter-out $(SUITE_OBJ),$(SUPPORT_OBJ))
$(SUPPORT_OBJ): $(BUILD)/obj/support/%.o: tests/support/lib/%.c
	@mkdir -p $(@D)
	$(call SAY,LD,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Itests/unit -Itests/support/lib -MMD -MP -c $< -o $@
$(BUILD)/tests/smtp_cases: tests/support/smtp_cases.c $(CASES_OBJ) $(LIBA)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -Itests/support/lib -MMD -MP -MF $@.d $< $(CASES_OBJ) $(LDFLAGS) -o $@ -Wl,--start-group $(LIBA) -Wl,--end-group $(LIBS)
# Runners of the authentication suites: tests/support/*_suite.c over tests/support/lib/suite_*.c.
$(BUILD)/tests/%_suite: tests/support/%_suite.c tests/unit/tap.h $(SUITE_OBJ) $(LIBA)
	@mkdir -p $(@D)
	$(call SAY,LD,$@)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Itests/unit -Itests/support/lib -MMD -MP -MF $@.d $< $(SUITE_OBJ) $(LDFLAGS) -o $@ -Wl,--start-group $(LIBA) -Wl,--end-group $(LIBS) -lyaml

unit: $(UNIT)
	@fail=0; for t in $(UNIT); do $$t >$$t.tap 2>&1 || { echo "not ok $$t"; tail -20 $$t.tap; fail=1; }; done; exit $$fail

deps:
	sh tools/install-deps build
# DIR=... for another place than the default, LAB=... for options of `gapura lab`.
run:
	sh tools/install-deps run
	$(MAKE) -j$$(nproc) all
	@exec $(BUILD)/gapura lab $(DIR) $(LAB)
test:
	sh tools/install-deps test
	$(MAKE) all
	sh tests/run
# What that leaves out, about an hour; LONG=0.02 shortens it (tests/run_long.py).
test-long:
	sh tools/install-deps test
	$(MAKE) all
	sh tests/run long
# ONLY=auth and ONLY=mime are programs of their own: no peer's server runs, the bars come from libraries.
BENCH_OWN := $(filter auth mime,$(ONLY))
bench: all $(BENCH_OWN:%=$(BUILD)/bench/%_bench)
	$(if $(filter auth,$(ONLY)),$(BUILD)/bench/auth_bench)
	$(if $(filter mime,$(ONLY)),python3 "$(GAPURA_BENCH)/gen_corpus.py" $(BUILD)/bench/corpus && $(BUILD)/bench/mime_bench $(BUILD)/bench/corpus $(wildcard $(or $(GAPURA_SUITES),../shared/suites)/bounce-sisimai/maildir/bsd))
	$(if $(and $(ONLY),$(if $(filter-out auth mime,$(ONLY)),,1)),,GAPURA_BENCH="$(GAPURA_BENCH)" python3 bench/run.py $(filter-out auth mime,$(ONLY)))
# The settings' part of the manual comes from the rows that the parser reads.
docs: all
	@mkdir -p $(BUILD)/man
	$(BUILD)/gapura --print-settings markdown > docs/configuration.md
	$(BUILD)/gapura --print-settings lab > docs/lab-settings.md
	$(BUILD)/gapura --print-settings man > $(BUILD)/man/settings
	sed -e '/@SETTINGS@/{r $(BUILD)/man/settings' -e 'd}' man/gapura.conf.5.in > $(BUILD)/man/gapura.conf.5
man: $(BUILD)/gapura
	@mkdir -p $(BUILD)/man
	$(Q)$(BUILD)/gapura --print-settings man > $(BUILD)/man/settings
	$(Q)sed -e '/@SETTINGS@/{r $(BUILD)/man/settings' -e 'd}' man/gapura.conf.5.in > $(BUILD)/man/gapura.conf.5

# `make install` puts the same files in place as the Debian package; the users are sysusers'.
PREFIX ?= /usr/local
DESTDIR ?=
D = $(DESTDIR)$(PREFIX)
install: all man install-files
	install -D -m 644 share/system/sysusers.conf $(D)/lib/sysusers.d/gapura.conf
	install -d $(D)/lib/systemd/system
	sed 's#/usr/bin/gapura#$(PREFIX)/bin/gapura#' share/system/gapura.service > $(D)/lib/systemd/system/gapura.service
install-files:
	install -D -m 755 $(BUILD)/gapura $(D)/bin/gapura
	install -d $(D)/sbin $(D)/lib
	ln -sf ../bin/gapura $(D)/sbin/sendmail
	ln -sf ../sbin/sendmail $(D)/lib/sendmail
	ln -sf gapura $(D)/bin/mailq
	ln -sf gapura $(D)/bin/newaliases
	install -D -m 644 man/gapura.1 $(D)/share/man/man1/gapura.1
	install -D -m 644 man/gapura-import.1 $(D)/share/man/man1/gapura-import.1
	install -D -m 644 $(BUILD)/man/gapura.conf.5 $(D)/share/man/man5/gapura.conf.5
	install -D -m 644 man/sendmail.8 $(D)/share/man/man8/sendmail.8
	ln -sf sendmail.8 $(D)/share/man/man8/newaliases.8
	ln -sf ../man8/sendmail.8 $(D)/share/man/man1/mailq.1
	install -D -m 644 share/system/gapura.conf $(D)/share/gapura/gapura.conf
	install -d $(D)/share/gapura/replies
	install -m 644 $(REPLY_FILES) $(D)/share/gapura/replies
	install -D -m 644 share/system/fail2ban-filter.conf $(DESTDIR)/etc/fail2ban/filter.d/gapura.conf
	install -D -m 644 share/system/fail2ban-jail.conf $(DESTDIR)/etc/fail2ban/jail.d/gapura.conf
format:
	clang-format -i $(wildcard src/*/*.[ch] tests/*/*.[ch])
clean:
	rm -rf build build-san
-include bench/bench.mk
-include fuzz/fuzz.mk
-include $(OBJ:.o=.d) $(UNIT:=.d) $(TOOLS:=.d) $(SUPPORT_OBJ:.o=.d)
