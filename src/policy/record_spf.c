/*
 * policy/record_spf.c - the trace of SPF in a decision record: bytes, text, JSON.
 *
 * Called by record.c and by explain. Never trusts the bytes it decodes, never judges.
 */
#include "policy/record_spf.h"

#include "core/err.h"
#include "policy/record_inner.h"

#define TEXT_MAX 120u /* bytes of a name or a term: more is cut */

static const char *const identities[] = {"mailfrom", "helo"};
static const char *const outcomes[] = {"match", "no match", "followed", "error"};

static struct str
cut(struct str s)
{
    return str_sub(s, 0, TEXT_MAX);
}

void
record_spf_add(struct record_spf *spf, const struct record_spf_step *step, size_t *bytes)
{
    struct record_spf_step s = *step;
    size_t n;

    s.record = cut(s.record);
    s.term = cut(s.term);
    s.target = cut(s.target);
    if (spf->nsteps && str_eq(s.record, spf->steps[spf->nsteps - 1].record))
        s.record = spf->steps[spf->nsteps - 1].record;
    n = s.record.n + s.term.n + s.target.n;
    if (spf->lost || spf->nsteps == RECORD_SPF_STEPS_MAX || *bytes + n > RECORD_SPF_BYTES_MAX) {
        spf->lost = (uint8_t)MIN(spf->lost + 1u, (unsigned)UINT8_MAX);
        return;
    }
    *bytes += n;
    spf->steps[spf->nsteps++] = s;
}

static void
put_str8(struct buf *b, struct str s)
{
    s = str_sub(s, 0, UINT8_MAX);
    put_u8(b, (uint8_t)s.n);
    buf_str(b, s);
}

void
record_spf_encode(struct buf *out, const struct record_spf *all, unsigned n)
{
    put_u8(out, (uint8_t)n);
    for (unsigned i = 0; i < n; i++) {
        const struct record_spf *spf = &all[i];

        put_u8(out, spf->identity);
        put_str8(out, spf->result);
        put_str8(out, spf->domain);
        put_u8(out, spf->terms);
        put_u8(out, spf->voids);
        put_u8(out, spf->queries);
        put_u8(out, spf->lost);
        put_u8(out, (uint8_t)spf->nsteps);
        for (unsigned k = 0; k < spf->nsteps; k++) {
            const struct record_spf_step *s = &spf->steps[k];

            put_u8(out, s->outcome);
            put_u8(out, s->depth);
            put_u8(out, s->lookups);
            put_str8(out, k && str_eq(s->record, spf->steps[k - 1].record) ? STR_NONE : s->record);
            put_str8(out, s->term);
            put_str8(out, s->target);
        }
    }
}

static struct str
get_str8(struct wire *w)
{
    return wire_bytes(w, wire_u8(w));
}

static int
get_one(struct wire *w, struct arena *arena, struct record_spf *spf)
{
    unsigned nsteps;

    *spf = (struct record_spf){.identity = wire_u8(w)};
    spf->result = get_str8(w);
    spf->domain = get_str8(w);
    spf->terms = wire_u8(w);
    spf->voids = wire_u8(w);
    spf->queries = wire_u8(w);
    spf->lost = wire_u8(w);
    nsteps = wire_u8(w);
    if (w->failed || spf->identity >= RECORD_SPF_IDENTITIES_ || nsteps > RECORD_SPF_STEPS_MAX)
        return ERR_CORRUPT;
    spf->steps = ARENA_ARRAY(arena, struct record_spf_step, nsteps + 1);
    if (!spf->steps)
        return ERR_NOMEM;
    for (; spf->nsteps < nsteps; spf->nsteps++) {
        struct record_spf_step *s = &spf->steps[spf->nsteps];
        struct str before = spf->nsteps ? s[-1].record : STR_NONE;

        s->outcome = wire_u8(w);
        s->depth = wire_u8(w);
        s->lookups = wire_u8(w);
        s->record = get_str8(w);
        s->term = get_str8(w);
        s->target = get_str8(w);
        /* One form for each: a record that is the same as before is written as empty. */
        if (w->failed || s->outcome >= ARRAY_LEN(outcomes) ||
            (s->record.n && str_eq(s->record, before)))
            return ERR_CORRUPT;
        if (!s->record.n)
            s->record = before;
    }
    return 0;
}

int
record_spf_decode(struct wire *w, struct arena *arena, struct record_spf ret[RECORD_SPF_IDENTITIES],
                  unsigned *ret_n)
{
    unsigned n = wire_u8(w);

    if (w->failed || !n || n > RECORD_SPF_IDENTITIES)
        return ERR_CORRUPT;
    for (unsigned i = 0; i < n; i++) {
        int rc = get_one(w, arena, &ret[i]);

        if (rc < 0)
            return rc;
    }
    *ret_n = n;
    return 0;
}

/* ---- shown ---- */

static void
text_step(struct buf *out, const struct record_spf_step *s, const char *indent)
{
    buf_fmt(out, "%s  %*s", indent, (int)MIN(s->depth, 20u) * 2, "");
    record_text_safe(out, s->record);
    buf_c(out, ": ");
    record_text_safe(out, s->term);
    if (s->target.n && str_find(s->term, s->target) < 0) {
        buf_c(out, " [");
        record_text_safe(out, s->target);
        buf_c(out, "]");
    }
    buf_fmt(out, ": %s", outcomes[s->outcome]);
    if (s->lookups)
        buf_fmt(out, ", %u %s", s->lookups, s->lookups == 1 ? "look-up" : "look-ups");
}

void
record_spf_text(struct buf *out, const struct record_spf *spf, const char *indent)
{
    buf_fmt(out, "%sSPF of %s ", indent, identities[spf->identity]);
    record_text_safe(out, spf->domain);
    buf_c(out, ": ");
    record_text_safe(out, spf->result);
    buf_fmt(out, "; used: %u terms with look-ups, %u without an answer, %u look-ups", spf->terms,
            spf->voids, spf->queries);
    for (unsigned i = 0; i < spf->nsteps; i++)
        text_step(out, &spf->steps[i], indent);
    if (spf->lost)
        buf_fmt(out, "%s  %u%s more terms were looked at", indent, spf->lost,
                spf->lost == UINT8_MAX ? " or" : "");
}

static void
json_text(struct buf *out, const char *key, struct str value)
{
    buf_fmt(out, "\"%s\":", key);
    buf_json(out, value);
    buf_char(out, ',');
}

void
record_spf_json(struct buf *out, const struct record_spf *all, unsigned n)
{
    buf_char(out, '[');
    for (unsigned i = 0; i < n; i++) {
        const struct record_spf *spf = &all[i];

        buf_c(out, i ? ",{" : "{");
        json_text(out, "identity", str_c(identities[spf->identity]));
        json_text(out, "domain", spf->domain);
        json_text(out, "result", spf->result);
        buf_fmt(out, "\"used\":{\"terms\":%u,\"voids\":%u,\"queries\":%u},\"terms\":[", spf->terms,
                spf->voids, spf->queries);
        for (unsigned k = 0; k < spf->nsteps; k++) {
            const struct record_spf_step *s = &spf->steps[k];

            buf_c(out, k ? ",{" : "{");
            json_text(out, "record", s->record);
            json_text(out, "term", s->term);
            if (s->target.n)
                json_text(out, "target", s->target);
            buf_fmt(out, "\"outcome\":\"%s\",\"lookups\":%u,\"depth\":%u}", outcomes[s->outcome],
                    s->lookups, s->depth);
        }
        buf_fmt(out, "],\"terms_lost\":%u}", spf->lost);
    }
    buf_char(out, ']');
}
