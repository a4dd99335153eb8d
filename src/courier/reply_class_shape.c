/*
 * courier/reply_class_shape.c - shapes of replies and their bounded table.
 *
 * Called by whoever classifies. Keeps at most REPLY_SHAPE_MAX bytes of a text; the example is as it
 * came, with its addresses, and for the operator of this machine alone.
 */
#include "courier/reply_class_shape.h"

#include <stdlib.h>
#include <string.h>

#include "core/map.h"
#include "courier/reply_class_text.h"

#define UNKNOWN_TO 45u /* confidence of weak codes, see reply_class.c */
#define OFTEN      10u
#define ID_MIN     6u /* letters and digits mixed, from so many on, are an id */

struct slot {
    char *shape, *example, *site;
    uint16_t code;
    uint64_t count, error, first, last;
    uint64_t often; /* the count that is worth the next word */
};
struct reply_shapes {
    struct map by_shape;
    struct slot *slots;
    uint32_t n, max;
};

bool
reply_shape_is_unknown(const struct reply_class_result *r)
{
    return r->confidence > 0 && r->confidence <= UNKNOWN_TO;
}

/* What a token stands for, NULL: itself. */
static const char *
placeholder(struct str s)
{
    unsigned digits = 0, letters = 0, dots = 0, colons = 0, others = 0;

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        digits += c >= '0' && c <= '9';
        letters += (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        dots += c == '.';
        colons += c == ':';
        others += (unsigned char)c >= 0x80;
    }
    if (str_find(s, STR("://")) >= 0)
        return "<url>";
    if (str_chr(s, '@') > 0)
        return "<address>";
    if (dots == 3 && digits + dots == s.n && digits >= 4)
        return "<ip>";
    if (colons >= 2 && digits + letters + colons + dots == s.n)
        return "<ip>";
    if (digits && digits + dots + colons == s.n)
        return "<n>";
    if (dots && reply_text_is_host(s))
        return "<host>";
    if (digits && letters && digits + letters >= ID_MIN && !others)
        return "<id>";
    return NULL;
}

static size_t
put(char *dst, size_t n, size_t cap, const char *text, size_t len)
{
    len = MIN(len, cap - 1 - n);
    memcpy(dst + n, text, len);
    return n + len;
}

size_t
reply_shape_of(struct str text, char *dst, size_t cap)
{
    static const char edges[] = " \t\r\n<>()[]{}\",;|'=";
    size_t n = 0;
    bool gap = false;

    text = str_sub(text, 0, REPLY_TEXT_MAX);
    for (size_t i = 0; i < text.n && n + 1 < cap;) {
        struct str token;
        const char *stands;
        size_t len = 0;
        if (memchr(edges, text.p[i], sizeof edges)) { /* NUL too */
            gap = true;
            i++;
            continue;
        }
        while (i + len < text.n && !memchr(edges, text.p[i + len], sizeof edges))
            len++;
        token = str_sub(text, i, len);
        i += len;
        while (token.n > 0 && strchr(".:!?#*-", token.p[token.n - 1]))
            token.n--;
        if (token.n == 0)
            continue;
        stands = placeholder(token);
        if (n > 0 && gap)
            n = put(dst, n, cap, " ", 1);
        n = stands ? put(dst, n, cap, stands, strlen(stands)) : put(dst, n, cap, token.p, token.n);
        gap = true;
    }
    dst[n] = '\0';
    str_lower(dst, n);
    return n;
}

struct reply_shapes *
reply_shapes_create(uint32_t max)
{
    struct reply_shapes *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->max = MAX(max, 1);
    map_init(&t->by_shape, t->max + 1u, false);
    t->slots = calloc(t->max, sizeof *t->slots);
    if (!t->slots) {
        reply_shapes_free(t);
        return NULL;
    }
    return t;
}

void
reply_shapes_free(struct reply_shapes *t)
{
    if (!t)
        return;
    for (uint32_t i = 0; t->slots && i < t->n; i++) {
        free(t->slots[i].shape);
        free(t->slots[i].example);
        free(t->slots[i].site);
    }
    free(t->slots);
    map_done(&t->by_shape);
    free(t);
}

static struct reply_shape
slot_view(const struct slot *s)
{
    return (struct reply_shape){.shape = s->shape,
                                .example = s->example,
                                .site = s->site,
                                .code = s->code,
                                .count = s->count,
                                .error = s->error,
                                .first = s->first,
                                .last = s->last};
}

static int
keep(char **at, struct str text, size_t max)
{
    char *copy = str_dup(str_sub(text, 0, max));

    if (!copy)
        return ERR_NOMEM;
    free(*at);
    *at = copy;
    return 0;
}

/* The rarest; of those the one that was not seen for the longest time. */
static struct slot *
slot_rarest(struct reply_shapes *t)
{
    struct slot *least = &t->slots[0];

    for (uint32_t i = 1; i < t->n; i++) {
        const struct slot *s = &t->slots[i];
        if (s->count < least->count || (s->count == least->count && s->last < least->last))
            least = &t->slots[i];
    }
    return least;
}

/* A place for a new shape: a free one, or that of the rarest with its count. */
static struct slot *
slot_take(struct reply_shapes *t)
{
    struct slot *s;

    if (t->n < t->max) {
        s = &t->slots[t->n++];
        *s = (struct slot){0};
        return s;
    }
    s = slot_rarest(t);
    s->error = s->count;
    s->first = s->often = 0;
    if (s->shape)
        (void)map_del(&t->by_shape, str_c(s->shape));
    free(s->shape);
    s->shape = NULL;
    return s;
}

int
reply_shapes_add(struct reply_shapes *t, struct str text, uint16_t code, struct str site,
                 uint64_t times, uint64_t now, struct reply_shape *ret)
{
    char shape[REPLY_SHAPE_MAX + 8];
    size_t n = str_fmt(shape, sizeof shape, "%u ", code);
    struct slot *s;
    bool often;

    n += reply_shape_of(text, shape + n, sizeof shape - n);
    s = map_get(&t->by_shape, str_of(shape, n));
    if (!s) {
        s = slot_take(t);
        s->shape = str_dup(str_of(shape, n));
        if (!s->shape || map_put(&t->by_shape, str_c(s->shape), s) < 0)
            return ERR_NOMEM; /* it stays without a name and is the next to go */
        s->first = now;
        s->often = OFTEN;
    }
    s->count += times;
    s->last = now;
    s->code = code;
    if (keep(&s->example, text, REPLY_SHAPE_MAX) < 0 || keep(&s->site, site, REPLY_SITE_MAX) < 0)
        return ERR_NOMEM;
    often = s->count - s->error >= s->often;
    while (s->count - s->error >= s->often)
        s->often *= 10;
    if (ret) {
        *ret = slot_view(s);
        ret->often = often;
    }
    return 0;
}

uint32_t
reply_shapes_count(const struct reply_shapes *t)
{
    return t->n;
}

static int
more_frequent(const void *a, const void *b)
{
    const struct slot *x = a, *y = b;

    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->shape, y->shape);
}

uint32_t
reply_shapes_list(const struct reply_shapes *t, struct reply_shape *ret, uint32_t max)
{
    struct slot *order = reallocarray(NULL, t->n + 1, sizeof *order);
    uint32_t n = MIN(t->n, max);

    if (!order)
        return 0;
    memcpy(order, t->slots, t->n * sizeof *order);
    qsort(order, t->n, sizeof *order, more_frequent);
    for (uint32_t i = 0; i < n; i++)
        ret[i] = slot_view(&order[i]);
    free(order);
    return n;
}
