/*
 * fuzz/fuzz_dkim.c - messages and key records from any bytes through the DKIM verifier, the ARC
 * validator and the signer; the body must hash the same however it is cut.
 *
 * The bytes before the first NUL are a key record, the others a message.
 */
#include "auth/arc.h"
#include "auth/dkim_tag.h"
#include "auth/dkim_verify.h"
#include "core/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Every question is answered with the record. */
static void
run(struct str record, struct str text, size_t step, enum dkim_status got[DKIM_SIGS_MAX])
{
    static struct dkim_verifier v;
    static struct arc_validator chain;
    struct dns_record r = {.type = DNS_TXT, .data = record};
    struct dns_answer answers[AUTH_NEEDS_MAX];
    const struct dns_answer *items[AUTH_NEEDS_MAX];
    struct auth_answers known = {items, 0};
    struct auth_needs needs = {.n = 0};
    struct arc_result arc;
    struct dkim_keys *keys = dkim_keys_create(4, 1, &dkim_limits_default);
    struct dkim_message *m = dkim_message_create();
    ssize_t end = str_find(text, STR("\r\n\r\n"));
    struct str header = end < 0 ? text : str_sub(text, 0, (size_t)end + 4);

    dkim_message_headers(m, header, &dkim_limits_default);
    dkim_verify_prepare(&v, m, &dkim_limits_default);
    arc_prepare(&chain, m, &dkim_limits_default);
    for (size_t at = header.n; at < text.n; at += step)
        dkim_message_body(m, text.p + at, MIN(step, text.n - at));
    dkim_verify_run(&v, 1763890000, keys, &known, &needs);
    for (unsigned i = 0; i < needs.n; i++) {
        answers[i] = (struct dns_answer){.name = {needs.items[i].name, needs.items[i].n},
                                         .type = DNS_TXT,
                                         .records = &r,
                                         .n = 1};
        items[known.n++] = &answers[i];
    }
    dkim_verify_run(&v, 1763890000, keys, &known, &(struct auth_needs){.n = 0});
    arc_run(&chain, 0, NULL, 0, keys, &known, &(struct auth_needs){.n = 0}, &arc);
    for (unsigned i = 0; i < v.n; i++)
        got[i] = v.results[i].status;
    dkim_message_free(m);
    dkim_keys_free(keys);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    enum dkim_status whole[DKIM_SIGS_MAX] = {0}, pieces[DKIM_SIGS_MAX] = {0};
    const uint8_t *nul = n ? memchr(data, 0, n) : NULL;
    struct str record = str_of(data, nul ? (size_t)(nul - data) : 0);
    struct str text = str_from(str_of(data, n), nul ? record.n + 1 : 0);
    struct dkim_tags tags;

    if (dkim_tags_parse(record, &tags) == 0)
        for (unsigned i = 0; i < tags.n; i++)
            ENSURE(tags.items[i].value.n <= tags.items[i].raw.n);
    run(record, text, text.n + 1, whole);
    run(record, text, 1 + text.n % 7, pieces);
    ENSURE(!memcmp(whole, pieces, sizeof(whole)));
    return 0;
}
