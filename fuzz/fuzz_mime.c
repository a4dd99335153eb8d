/*
 * fuzz/fuzz_mime.c - messages from any bytes: one structure however the bytes are cut, ceilings
 * held, and every part that begins ends.
 */
#include <stdlib.h>

#include "mail/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct seen {
    uint64_t digest, bytes;
    uint32_t begun, ended, odd;
};

static void
mix(struct seen *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s->digest = (s->digest ^ (unsigned char)p[i]) * 1099511628211u;
}

static void
on_begin(void *ctx, const struct mime_part *p)
{
    struct seen *s = ctx;

    ENSURE(p->number == s->begun && (p->parent == MIME_NO_PART || p->parent < p->number));
    ENSURE(p->depth <= 8);
    s->begun++;
    if (p->kind >= MIME_UUENCODED)
        return; /* stands beside the text that holds it, so its order follows the pieces */
    mix(s, p->type.p, p->type.n);
    mix(s, p->subtype.p, p->subtype.n);
    mix(s, p->filename.p, p->filename.n);
    mix(s, (const char *)&p->parent, sizeof(p->parent));
}

static void
on_data(void *ctx, const struct mime_part *p, const char *data, size_t n)
{
    struct seen *s = ctx;

    ENSURE(n > 0 && p->size >= n);
    if (p->kind == MIME_LEAF) /* the others: beside what they hold */
        mix(s, data, n);
    s->bytes += n;
}

static void
on_end(void *ctx, const struct mime_part *p)
{
    ENSURE(p->end_at >= p->header_at);
    ((struct seen *)ctx)->ended++;
}

static void
on_odd(void *ctx, const struct mime_part *p, enum mime_odd odd, struct str taken, struct str other)
{
    (void)p;
    (void)taken;
    (void)other;
    ENSURE(mime_odd_name(odd)[0]);
    ((struct seen *)ctx)->odd |= 1u << odd;
}

static struct seen
parse(const char *p, size_t n, size_t step, uint32_t readings, uint32_t *ret_others)
{
    static const struct mime_sink sink = {on_begin, on_data, on_end, on_odd};
    static const struct mime_limits limits = {
        .depth = 6, .parts = 40, .header_bytes = 4096, .memory = 1u << 20, .tnef = 65536};
    struct seen s = {.digest = 14695981039346656037u};
    struct mime *m;

    if (mime_create(&m, &limits, &sink, &s) < 0)
        return s;
    mime_read_as(m, readings);
    for (size_t at = 0; at < n; at += step)
        mime_feed(m, p + at, MIN(step, n - at));
    mime_end(m);
    ENSURE(s.begun == s.ended && s.begun <= 40);
    *ret_others = mime_readings(m);
    ENSURE(!(*ret_others & readings) && *ret_others < 1u << MIME_READINGS);
    mime_free(m);
    return s;
}

/* Whole and in pieces; gives the other readings. */
static uint32_t
one_reading(const char *p, size_t n, uint32_t readings)
{
    uint32_t others, same;
    struct seen whole = parse(p, n, n ? n : 1, readings, &others);
    struct seen pieces = parse(p, n, n ? 1 + (uint8_t)p[0] % 17u : 1, readings, &same);

    ENSURE(whole.digest == pieces.digest && whole.begun == pieces.begun);
    ENSURE(whole.bytes == pieces.bytes && whole.odd == pieces.odd && others == same);
    return others;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint32_t others = one_reading((const char *)data, n, 0);

    if (others)
        one_reading((const char *)data, n, others);
    if (others & (others - 1))
        one_reading((const char *)data, n, others & -others);
    return 0;
}
