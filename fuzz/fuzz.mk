# `make fuzz` runs every target in fuzz/fuzz_*.c for SECONDS each with libFuzzer, ASan and UBSan
# (TARGETS="mime spf": these only; GOAL=3600: in turns, until each has had an hour of CPU time over all
# runs; WITHIN=600: not longer), and prints what each has had so far. Findings stay in build/fuzz/found-NAME-*; `build/fuzz/replay_NAME FILE...` runs them again, built by
# gcc (`make fuzz-replay` builds all and runs the seeds).

FUZZ_CC ?= clang
SECONDS ?= 30
FUZZ_SUITES ?= $(or $(GAPURA_SUITES),../shared/suites)
FUZZ := $(patsubst fuzz/fuzz_%.c,%,$(wildcard fuzz/fuzz_*.c))
TARGETS ?= $(FUZZ)
FUZZ_OUT := build/fuzz
# Folders that targets call; a target for another folder adds it here.
FUZZ_FOLDERS ?= core mail net smtp auth spool store policy scan
FUZZ_SRC := $(sort $(foreach f,$(FUZZ_FOLDERS),$(wildcard src/$(f)/*.c)) \
              $(wildcard src/*/settings.c) $(wildcard src/courier/reply_class*.c) src/roles/fixed.c \
              src/courier/pace.c src/courier/warmup.c src/gate/srs.c src/gate/returned.c)
FUZZ_FLAGS := -D_GNU_SOURCE -Isrc -Ibuild/gen -Itests/unit -std=gnu17 -O1 -g -fno-omit-frame-pointer \
              -pthread
FUZZ_SAN := -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_LINK := $(LIBS)

.PHONY: fuzz fuzz-replay fuzz-seeds
fuzz: $(TARGETS:%=$(FUZZ_OUT)/fuzz_%) fuzz-seeds
	@tools/fuzz --seconds $(SECONDS) $(if $(GOAL),--goal $(GOAL)) $(if $(WITHIN),--within $(WITHIN)) $(TARGETS)
fuzz-replay: $(FUZZ:%=$(FUZZ_OUT)/replay_%) fuzz-seeds
	@for t in $(FUZZ); do mkdir -p $(FUZZ_OUT)/seeds/$$t; \
	    echo "$$t: $$($(FUZZ_OUT)/replay_$$t $(FUZZ_OUT)/seeds/$$t)" || exit 1; done
fuzz-seeds: fuzz/seeds.py
	@python3 fuzz/seeds.py $(FUZZ_SUITES) $(FUZZ_OUT)/seeds

$(FUZZ_OUT)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) $(FUZZ_SAN) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@
$(FUZZ_OUT)/replay-obj/%.o: src/%.c
	@mkdir -p $(@D)
	$(CC) $(FUZZ_FLAGS) $(FUZZ_SAN) -MMD -MP -c $< -o $@
$(FUZZ_OUT)/obj/core/lang.o $(FUZZ_OUT)/replay-obj/core/lang.o: build/gen/core/lang_id.inc
$(FUZZ_OUT)/obj/policy/profile.o $(FUZZ_OUT)/replay-obj/policy/profile.o: build/gen/policy/profiles.inc
$(FUZZ_OUT)/obj/courier/reply_class_default.o $(FUZZ_OUT)/replay-obj/courier/reply_class_default.o: build/gen/courier/replies.inc
FUZZ_OBJ := $(FUZZ_SRC:src/%.c=$(FUZZ_OUT)/obj/%.o)
REPLAY_OBJ := $(FUZZ_SRC:src/%.c=$(FUZZ_OUT)/replay-obj/%.o)
$(FUZZ_OUT)/libfuzz.a: $(FUZZ_OBJ)
	@rm -f $@
	ar rcs $@ $^
$(FUZZ_OUT)/libreplay.a: $(REPLAY_OBJ)
	@rm -f $@
	ar rcs $@ $^
$(FUZZ_OUT)/fuzz_%: fuzz/fuzz_%.c $(FUZZ_OUT)/libfuzz.a tests/unit/smtp_twin.h
	$(FUZZ_CC) $(FUZZ_FLAGS) $(FUZZ_SAN) -fsanitize=fuzzer $< -o $@ $(FUZZ_OUT)/libfuzz.a $(FUZZ_LINK)
$(FUZZ_OUT)/replay_%: fuzz/fuzz_%.c fuzz/driver.c $(FUZZ_OUT)/libreplay.a tests/unit/smtp_twin.h
	$(CC) $(FUZZ_FLAGS) $(FUZZ_SAN) $< fuzz/driver.c -o $@ $(FUZZ_OUT)/libreplay.a $(FUZZ_LINK)
-include $(FUZZ_OBJ:.o=.d) $(REPLAY_OBJ:.o=.d)
