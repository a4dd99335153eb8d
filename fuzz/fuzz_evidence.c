/*
 * fuzz/fuzz_evidence.c - a sender, a zone and a message through all that a gate evaluates.
 *
 * The first line is "IP HELO SENDER"; a zone file follows up to a NUL, then the message. Each
 * evaluation must end, DMARC within its walk, and the field that we would write must be read by our
 * own grammar with as many results.
 */
#include "auth/evidence.h"
#include "auth/zone.h"
#include "core/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define ROUNDS_MAX 100u

static struct auth_common *common;

static void
setup(void)
{
    static const struct str trusted[] = {{"a.test", 6}, {".b.test", 7}};
    struct settings_verify conf = {
        .mode = VERIFY_ON, .dkim_signatures = 10, .dkim_min_bits = 1024, .dkim_max_bits = 8192};

    conf.arc_trusted.items = (struct str *)(uintptr_t)trusted;
    conf.arc_trusted.n = ARRAY_LEN(trusted);
    if (!common)
        ENSURE(auth_common_create(&common, &conf, STR("mx.test"), STR_NONE, NULL) == 0);
}

typedef enum auth_state evaluate_fn(struct auth_evidence *, uint64_t mono, struct auth_needs *);

/* Answers out of the zone; what it has no room for fails. */
static void
run(struct auth_evidence *e, struct zone *z, evaluate_fn *fn)
{
    struct auth_needs needs = {.n = 0};
    unsigned rounds = 0;

    while (fn(e, 0, &needs) == AUTH_NEED) {
        ENSURE(++rounds < ROUNDS_MAX && needs.n);
        for (unsigned i = 0; i < needs.n; i++) {
            const struct auth_question *q = &needs.items[i];
            const struct dns_answer *a = zone_lookup(z, str_of(q->name, q->n), q->type);

            if ((!a || auth_known_add(&e->known, a) < 0) && auth_known_fail(&e->known, q) < 0)
                return;
        }
    }
}

static void
check_field(const struct auth_evidence *e)
{
    static struct authres ours, back;
    CLEANUP(buf_done) struct buf field;
    struct arena arena;
    struct str value;

    buf_init(&field, 1u << 20);
    arena_init(&arena, 1u << 20);
    auth_evidence_results(e, &ours);
    authres_write(&field, &ours);
    ENSURE(!field.failed);
    value = str_from(buf_view(&field), sizeof("Authentication-Results:") - 1);
    ENSURE(authres_parse(value, &arena, &back) == 0 && back.n == ours.n);
    for (unsigned i = 0; i < ours.n; i++)
        ENSURE(str_eq(back.results[i].method, ours.results[i].method) &&
               str_eq(back.results[i].result, ours.results[i].result));
    arena_done(&arena);
}

static void
evaluate(struct str sender, struct str zone_text, struct str message)
{
    static struct auth_evidence e;
    struct zone *z = zone_create(4u << 20);
    struct str ip = str_word(&sender), helo = str_word(&sender), from = str_word(&sender);
    ssize_t at = str_rchr(from, '@'), end = str_find(message, STR("\r\n\r\n"));
    struct str header = end < 0 ? message : str_sub(message, 0, (size_t)end + 4);
    struct arena arena;
    struct addr client;

    if (addr_parse(ip, &client) < 0)
        ENSURE(addr_parse(STR("192.0.2.1"), &client) == 0);
    arena_init(&arena, 8u << 20);
    (void)zone_read(z, zone_text, NULL);
    auth_evidence_open(&e, common, &arena, &client, helo,
                       at > 0 ? str_sub(from, 0, (size_t)at) : STR_NONE,
                       str_from(from, (size_t)(at + 1)), 1763890000, 0);
    run(&e, z, auth_evidence_sender);
    run(&e, z, auth_evidence_helo);
    run(&e, z, auth_evidence_mailfrom);
    if (auth_evidence_header(&e, header) == 0) {
        auth_evidence_body(&e, message.p + header.n, message.n - header.n);
        run(&e, z, auth_evidence_dkim);
        run(&e, z, auth_evidence_arc);
        run(&e, z, auth_evidence_dmarc);
    }
    if (e.have_dmarc)
        ENSURE(e.dmarc.nsteps <= DMARC_WALK_MAX && e.dmarc.advice <= DMARC_REFUSE);
    (void)auth_evidence_proved(&e);
    check_field(&e);
    auth_evidence_close(&e);
    arena_done(&arena);
    zone_free(z);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str rest, first = str_cut(str_of(data, n), '\n', &rest);
    ssize_t nul = str_chr(rest, '\0');

    setup();
    evaluate(first, nul < 0 ? STR_NONE : str_sub(rest, 0, (size_t)nul),
             nul < 0 ? rest : str_from(rest, (size_t)nul + 1));
    return 0;
}
