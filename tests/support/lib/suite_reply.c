/*
 * tests/support/lib/suite_reply.c - disputed cases, other hosts and held-out patterns for the
 * runners of replies and bounces.
 */
#include "suite_reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "courier/reply_class_inner.h"
#include "suite_file.h"

#define DISPUTES_MAX 512u
#define DECIDED_MAX  8192u

/* ---- what a case says ---- */

static uint64_t
mix(uint64_t h, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * UINT64_C(1099511628211);
    return (h ^ 0x1f) * UINT64_C(1099511628211);
}

uint64_t
suite_digest(struct str reply, struct str enhanced, struct str label)
{
    const struct map none = {.n = 0}; /* no host is known, whatever patterns come to know */
    uint64_t h = UINT64_C(14695981039346656037);
    struct reply_text t;
    char codes[64];

    reply_text_read(&t, reply, &none);
    (void)reply_text_enhanced(enhanced, t.enhanced);
    for (unsigned i = 0; i < t.nwords; i++)
        h = mix(h, reply_text_word(&t, i));
    str_fmt(codes, sizeof codes, "%u %u.%u.%u", t.code, t.enhanced[0], t.enhanced[1],
            t.enhanced[2]);
    return mix(mix(h, str_c(codes)), label);
}

static struct {
    struct buf text;
    uint64_t digest[DISPUTES_MAX];
    char reason[DISPUTES_MAX][256];
    unsigned n;
} disputes;

bool
suite_disputes_read(const char *path)
{
    struct str rest, line, reason;
    char hex[32], *end;

    if (!suite_read(path, &disputes.text)) {
        fprintf(stderr, "%s cannot be read\n", path);
        return false;
    }
    for (rest = buf_view(&disputes.text); rest.n > 0;) {
        line = str_cut(rest, '\n', &rest);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (!str_copy(str_cut(line, '\t', &reason), hex, sizeof hex) ||
            disputes.n == DISPUTES_MAX) {
            fprintf(stderr, "%s: not understood: %.*s\n", path, STR_ARG(line));
            return false;
        }
        disputes.digest[disputes.n] = strtoull(hex, &end, 16);
        if (*end || reason.n == 0) {
            fprintf(stderr, "%s: a digest, a tab and a reason: %.*s\n", path, STR_ARG(line));
            return false;
        }
        str_copy(str_sub(reason, 0, 255), disputes.reason[disputes.n++], 256);
    }
    return true;
}

const char *
suite_dispute(uint64_t digest)
{
    for (unsigned i = 0; i < disputes.n; i++)
        if (disputes.digest[i] == digest)
            return disputes.reason[i];
    return NULL;
}

/* ---- other hosts and addresses ---- */

struct dice {
    uint64_t state;
    struct buf *b;
    const struct reply_classes *set;
};

static unsigned
dice(struct dice *d, unsigned n)
{
    d->state = d->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(d->state >> 33) % n;
}

static void
put_name(struct dice *d, unsigned letters)
{
    for (unsigned i = 0; i < letters; i++)
        buf_char(d->b, (char)('a' + dice(d, 26)));
}

static void
put_host(struct dice *d)
{
    put_name(d, 2 + dice(d, 6));
    buf_char(d->b, '.');
    put_name(d, 3 + dice(d, 8));
    buf_c(d->b, dice(d, 2) ? ".example" : ".co.test");
}

static bool
host_is_known(const struct reply_classes *set, struct str host)
{
    char lower[256];

    if (!str_copy(host, lower, sizeof lower))
        return false;
    str_lower(lower, host.n);
    for (struct str at = str_of(lower, host.n); at.n > 0;) {
        ssize_t dot = str_chr(at, '.');
        if (map_get(&set->names, at))
            return true;
        if (dot < 0)
            return false;
        at = str_from(at, (size_t)dot + 1);
    }
    return false;
}

static bool
is_ip(struct str s)
{
    unsigned dots = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '.' && (s.p[i] < '0' || s.p[i] > '9'))
            return false;
        dots += s.p[i] == '.';
    }
    return dots == 3 && s.n >= 7;
}

static void
put_other(struct dice *d, struct str s)
{
    ssize_t at = str_rchr(s, '@');

    if (str_find(s, STR("://")) >= 0) {
        buf_str(d->b, s);
    } else if (at > 0 && (size_t)at + 1 < s.n && str_chr(s, ':') < 0) {
        put_name(d, 3 + dice(d, 9));
        buf_char(d->b, '@');
        put_host(d);
    } else if (is_ip(s)) {
        buf_fmt(d->b, "%u.%u.%u.%u", 1 + dice(d, 223), dice(d, 256), dice(d, 256),
                1 + dice(d, 254));
    } else if (reply_text_is_host(s) && !host_is_known(d->set, s)) {
        put_host(d);
    } else {
        buf_str(d->b, s);
    }
}

struct str
suite_shuffled(const struct reply_classes *set, uint64_t seed, struct str text)
{
    static struct buf out;
    struct dice d = {mix(seed + 1, text), &out, set};

    if (!out.max)
        buf_init(&out, 256 << 10);
    buf_clear(&out);
    for (size_t i = 0; i < text.n;) {
        size_t n = 0;
        while (i + n < text.n && !memchr(" \t\r\n<>()[]{}\",;|'", text.p[i + n], 18))
            n++;
        if (n > 0) {
            struct str s = str_sub(text, i, n), tail = STR_NONE;
            while (s.n > 0 && memchr(".:", s.p[s.n - 1], 2)) {
                s.n--;
                tail = str_sub(text, i + s.n, n - s.n);
            }
            put_other(&d, s);
            buf_str(&out, tail);
        } else {
            buf_char(&out, text.p[i]);
            n = 1;
        }
        i += n;
    }
    return buf_view(&out);
}

/* ---- held out ---- */

static struct {
    struct {
        const char *pattern; /* where its name is: one place a variant */
        bool half[2];
    } rows[DECIDED_MAX];
    unsigned n;
} decided;

bool
suite_half(uint64_t digest, uint64_t seed)
{
    digest = (digest ^ seed * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);
    return digest >> 63;
}

void
suite_half_decided(const struct reply_class_result *r, bool second)
{
    unsigned i = 0;

    while (i < decided.n && decided.rows[i].pattern != r->pattern.p)
        i++;
    if (i == DECIDED_MAX)
        abort();
    if (i == decided.n)
        decided.n++;
    decided.rows[i].pattern = r->pattern.p;
    decided.rows[i].half[second] = true;
}

static bool
is_forgotten(const char *pattern)
{
    for (unsigned i = 0; i < decided.n; i++)
        if (decided.rows[i].pattern == pattern)
            return decided.rows[i].half[1] && !decided.rows[i].half[0];
    return false;
}

unsigned
suite_half_forget(struct reply_classes *set)
{
    unsigned n = 0;

    for (uint32_t i = 1; i < set->nends; i++) {
        if (is_forgotten(set->ends[i].name.p)) {
            set->ends[i].rule = 0; /* which says nothing */
            n++;
        }
    }
    for (uint32_t i = 1; i < set->nrules; i++) {
        if (set->rules[i].bare && set->rules[i].provider && is_forgotten(set->rules[i].name.p)) {
            set->rules[i].phases = 0;
            n++;
        }
    }
    return n;
}

void
suite_figure(const char *what, unsigned good, unsigned all)
{
    printf("# %-34s %u of %u (%.1f %%)\n", what, good, all, all ? 100.0 * good / all : 0.0);
}
