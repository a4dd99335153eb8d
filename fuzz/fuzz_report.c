/*
 * fuzz/fuzz_report.c - reports from any bytes: one outcome however the bytes are cut, ceilings
 * held, a text for every refusal, and what is read is written and read again as the same.
 */
#include <stdlib.h>

#include "mail/report.h"
#include "mail/report_dmarc.h"
#include "mail/report_tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct report_limits limits = {
    .packed = 64u << 10, .bytes = 256u << 10, .rows = 50, .depth = 12, .text = 200};

static int
read_file(struct str text, size_t step, struct arena *arena, struct report *ret, struct why *why)
{
    struct report_reader *r;

    ENSURE(report_open(&r, &limits, arena) == 0);
    for (size_t at = 0; at < text.n; at += step)
        report_feed(r, text.p + at, MIN(step, text.n - at));
    int did = report_end(r, ret, why);
    report_close(r);
    return did;
}

static void
check(const struct report *r)
{
    uint64_t sum = 0;
    uint32_t n = 0;

    if (r->dmarc) {
        for (const struct report_row *row = r->dmarc->rows; row; row = row->next, n++) {
            sum += row->count;
            ENSURE(row->header_from.n <= limits.text);
        }
        ENSURE(n == r->dmarc->nrows && n > 0 && n <= limits.rows && sum == r->dmarc->messages);
        ENSURE(r->dmarc->org.p && r->dmarc->id.n && r->dmarc->domain.n);
    }
    if (r->tls) {
        for (const struct report_tls_policy *p = r->tls->policies; p; p = p->next, n++)
            sum += p->good;
        ENSURE(n == r->tls->npolicies && n > 0 && n <= limits.rows && sum == r->tls->good);
    }
    if (r->failure)
        ENSURE(r->failure->reported_domain.n || r->failure->arf.source_text.n);
}

/* What we write of it, read again. */
static void
again(const struct report *r, struct arena *arena)
{
    struct report_limits wide = limits;
    struct report back;
    struct why why = {.text = ""};
    struct buf out;

    buf_init(&out, 1u << 20);
    wide.bytes = wide.packed = 1u << 20;
    wide.text = 2000; /* what XML or JSON cannot hold grows */
    if (r->dmarc) {
        /* A name that is all of characters which are left out may come back empty. */
        if (report_dmarc_write(r->dmarc, REPORT_FORM_7489, &out) == 0) {
            ENSURE(report_read(buf_view(&out), &wide, arena, &back, &why) == 0);
            ENSURE(back.dmarc->nrows == r->dmarc->nrows &&
                   back.dmarc->messages == r->dmarc->messages);
        }
    } else if (r->tls && report_tls_write(r->tls, &out) == 0) {
        ENSURE(report_read(buf_view(&out), &wide, arena, &back, &why) == 0);
        ENSURE(back.tls->npolicies == r->tls->npolicies && back.tls->good == r->tls->good);
    }
    buf_done(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str text = str_of(data, n);
    struct arena arena;
    struct report whole, pieces, any;
    struct why why = {.text = ""}, other = {.text = ""};

    arena_init(&arena, 16u << 20);
    int did = read_file(text, n ? n : 1, &arena, &whole, &why);
    int same = read_file(text, n ? 1 + data[0] % 7u : 1, &arena, &pieces, &other);
    ENSURE(did == same && whole.kind == pieces.kind);
    ENSURE(did == 0 || why.text[0]);
    check(&whole);
    check(&pieces);
    if (did == 0)
        again(&whole, &arena);
    other.text[0] = '\0';
    did = report_read(text, &limits, &arena, &any, &other); /* a mail, if it looks like one */
    ENSURE(did == 0 || other.text[0]);
    check(&any);
    arena_done(&arena);
    return 0;
}
