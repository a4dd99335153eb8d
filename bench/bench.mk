# Benchmarks of single folders: build/bench/NAME from bench/NAME.c.
$(BUILD)/bench/%: bench/%.c $(LIBA)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -Itests/unit -MMD -MP -MF $@.d $< $(LDFLAGS) -o $@ -Wl,--start-group $(LIBA) -Wl,--end-group $(LIBS)
# Beside GMime where its headers are (libgmime-3.0-dev).
$(BUILD)/bench/mime_bench: GMIME = $(shell pkg-config --exists gmime-3.0 && pkg-config --cflags gmime-3.0 | sed 's/-I/-isystem /g') $(shell pkg-config --exists gmime-3.0 && echo -DHAVE_GMIME)
$(BUILD)/bench/mime_bench: GMIME_LIBS = $(shell pkg-config --libs gmime-3.0 2>/dev/null)
$(BUILD)/bench/mime_bench: bench/mime_bench.c $(LIBA)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(GMIME) -MMD -MP -MF $@.d $< $(LDFLAGS) -o $@ -Wl,--start-group $(LIBA) -Wl,--end-group $(LIBS) $(GMIME_LIBS)
