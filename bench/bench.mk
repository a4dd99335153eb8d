# Benchmarks of single folders: build/bench/NAME from bench/NAME.c.
$(BUILD)/bench/%: bench/%.c $(LIBA)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -Itests/unit -MMD -MP -MF $@.d $< $(LDFLAGS) -o $@ -Wl,--start-group $(LIBA) -Wl,--end-group $(LIBS)
