/*
 * fuzz/fuzz_spf.c - a sender, then a zone file: any SPF record, macro and answer there can be.
 *
 * Each run must end within the limits, whatever was published.
 */
#include "auth/spf.h"
#include "auth/zone.h"
#include "core/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str zone, from = str_cut(str_of(data, n), '\n', &zone);
    struct zone *z = zone_create(4u << 20);
    struct spf_input in = {.helo = STR("helo.test"), .receiver = STR("mx.test")};
    struct auth_needs needs = {0};
    struct spf_verdict v = {0};
    enum auth_state state;
    struct arena arena;
    unsigned rounds = 0;
    ssize_t at = str_rchr(from, '@');

    addr_parse(n & 1 ? STR("192.0.2.1") : STR("2001:db8::1"), &in.ip);
    in.local = at > 0 ? str_sub(from, 0, (size_t)at) : STR_NONE;
    in.domain = at >= 0 ? str_from(from, (size_t)at + 1) : from;
    arena_init(&arena, 4u << 20);
    (void)zone_read(z, zone, NULL);
    do {
        state = spf_run(&in, zone_answers(z), &needs, &arena, &v);
        ENSURE(++rounds < 100);
    } while (state == AUTH_NEED && zone_ask(z, &needs) == 0);
    if (state == AUTH_DONE) {
        ENSURE(v.result <= SPF_PERMERROR && v.nsteps <= spf_limits_default.steps);
        ENSURE(v.queries <= spf_limits_default.queries + 16);
        ENSURE(v.terms <= spf_limits_default.terms + 1);
    }
    arena_done(&arena);
    zone_free(z);
    return 0;
}
