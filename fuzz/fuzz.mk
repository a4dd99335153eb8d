# `make fuzz` runs every target in fuzz/fuzz_*.c for SECONDS each with libFuzzer, ASan and UBSan.
# Findings stay in build/fuzz/found-NAME-*; `build/fuzz/replay_NAME FILE...` runs them again, built by
# gcc (`make fuzz-replay` builds all and runs the seeds).

FUZZ_CC ?= clang
SECONDS ?= 30
FUZZ_SUITES ?= $(or $(GAPURA_SUITES),../shared/suites)
FUZZ := $(patsubst fuzz/fuzz_%.c,%,$(wildcard fuzz/fuzz_*.c))
FUZZ_OUT := build/fuzz
# Folders that targets call; a target for another folder adds it here.
FUZZ_FOLDERS ?= core mail net smtp auth spool store policy
FUZZ_SRC := $(sort $(foreach f,$(FUZZ_FOLDERS),$(wildcard src/$(f)/*.c)) \
              $(wildcard src/*/settings.c) $(wildcard src/courier/reply_class*.c) src/gate/returned.c \
              src/roles/fixed.c)
FUZZ_FLAGS := -D_GNU_SOURCE -Isrc -Ibuild/gen -Itests/unit -std=gnu17 -O1 -g -fno-omit-frame-pointer \
              -pthread
FUZZ_SAN := -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_LINK := $(LIBS)

.PHONY: fuzz fuzz-replay fuzz-seeds
fuzz: $(FUZZ:%=$(FUZZ_OUT)/fuzz_%) fuzz-seeds
	@fail=0; for t in $(FUZZ); do \
	    echo "fuzz $$t for $(SECONDS) s"; mkdir -p $(FUZZ_OUT)/corpus/$$t $(FUZZ_OUT)/seeds/$$t; \
	    dict=; case $$t in smtp*) dict=-dict=fuzz/smtp.dict;; report) dict=-dict=fuzz/report.dict;; esac; \
	    $(FUZZ_OUT)/fuzz_$$t $$dict -max_total_time=$(SECONDS) -max_len=8192 -rss_limit_mb=1024 \
	        -timeout=10 -verbosity=0 -print_final_stats=1 -artifact_prefix=$(FUZZ_OUT)/found-$$t- \
	        $(FUZZ_OUT)/corpus/$$t $(FUZZ_OUT)/seeds/$$t 2>$(FUZZ_OUT)/$$t.log \
	    && sed -n 's/^stat::number_of_executed_units: */  inputs /p' $(FUZZ_OUT)/$$t.log \
	    || { fail=1; echo "  FOUND something: $(FUZZ_OUT)/$$t.log"; tail -20 $(FUZZ_OUT)/$$t.log; }; \
	done; exit $$fail
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
