/*
 * fuzz/fuzz_dsn.c - delivery reports and complaints from any bytes: one reading however they are
 * fed and whichever line ends they have, ceilings held, texts that are told sound.
 */
#include <stdlib.h>

#include "mail/dsn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct dsn_limits limits = {
    .text = 8192, .status = 4096, .original = 2048, .rcpts = 20, .reply = 300, .memory = 2u << 20};

static struct dsn_reader *
read_mail(const char *p, size_t n, size_t step)
{
    struct dsn_reader *r;

    if (dsn_reader_create(&r, &limits) < 0)
        return NULL;
    for (size_t at = 0; at < n; at += step)
        dsn_reader_feed(r, p + at, MIN(step, n - at));
    dsn_reader_end(r);
    return r;
}

static void
look(const struct dsn_report *r)
{
    ENSURE(r->kind < DSN_KINDS && dsn_kind_name(r->kind)[0]);
    ENSURE(r->nrcpt <= limits.rcpts && r->original.n <= limits.text + 1024);
    ENSURE((r->kind == DSN_KIND_FEEDBACK) == (r->feedback != NULL) || r->nrcpt == limits.rcpts);
    for (unsigned i = 0; i < r->nrcpt; i++) {
        const struct dsn_outcome *o = &r->rcpts[i];

        ENSURE(o->reply.n <= limits.reply && !str_has_ctl(o->reply));
        ENSURE(!o->code || (o->code >= 200 && o->code < 600));
        ENSURE(!o->status[0] || strchr("245", o->status[0]));
        ENSURE(o->phase <= DSN_PHASE_DOT && o->action <= DSN_EXPANDED);
    }
}

static void
alike(const struct dsn_report *a, const struct dsn_report *b)
{
    ENSURE(a->kind == b->kind && a->nrcpt == b->nrcpt && str_eq(a->original, b->original));
    for (unsigned i = 0; i < a->nrcpt; i++) {
        ENSURE(str_eq(a->rcpts[i].final, b->rcpts[i].final));
        ENSURE(str_eq(a->rcpts[i].reply, b->rcpts[i].reply));
        ENSURE(a->rcpts[i].code == b->rcpts[i].code);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct dsn_reader *whole = read_mail((const char *)data, n, n ? n : 1);
    struct dsn_reader *pieces = read_mail((const char *)data, n, n ? 1 + data[0] % 17u : 1);

    if (whole && pieces) {
        look(dsn_reader_end(whole));
        alike(dsn_reader_end(whole), dsn_reader_end(pieces));
    }
    dsn_reader_free(whole);
    dsn_reader_free(pieces);
    return 0;
}
