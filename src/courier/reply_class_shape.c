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
#define ID_MIN     6u  /* letters and digits mixed, from so many on, are an id */

struct slot {
    char *shape, *example;
    uint16_t code;
    uint64_t count, error, last;
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
    }
    free(t->slots);
    map_done(&t->by_shape);
    free(t);
}

/* Seen again: its newest example. */
static int
slot_seen(struct slot *s, struct str text, uint16_t code, uint64_t now)
{
    char *example = str_dup(str_sub(text, 0, REPLY_SHAPE_MAX));

    s->count++;
    s->last = now;
    s->code = code;
    if (!example)
        return ERR_NOMEM;
    free(s->example);
    s->example = example;
    return 0;
}

static struct slot *
slot_rarest(struct reply_shapes *t)
{
    struct slot *least = &t->slots[0];

    for (uint32_t i = 1; i < t->n; i++) {
        if (t->slots[i].count < least->count)
            least = &t->slots[i];
    }
    return least;
}

int
reply_shapes_add(struct reply_shapes *t, struct str text, uint16_t code, uint64_t now)
{
    char shape[REPLY_SHAPE_MAX + 8];
    size_t n = str_fmt(shape, sizeof shape, "%u ", code);
    struct slot *s;
    char *copy;

    n += reply_shape_of(text, shape + n, sizeof shape - n);
    s = map_get(&t->by_shape, str_of(shape, n));
    if (s)
        return slot_seen(s, text, code, now);
    copy = str_dup(str_of(shape, n));
    if (!copy)
        return ERR_NOMEM;
    if (t->n < t->max) {
        s = &t->slots[t->n++];
        *s = (struct slot){0};
    } else {
        s = slot_rarest(t);
        s->error = s->count;
        (void)map_del(&t->by_shape, str_c(s->shape));
        free(s->shape);
    }
    s->shape = copy;
    if (map_put(&t->by_shape, str_of(copy, n), s) < 0)
        return ERR_NOMEM; /* it stays without a name and is the next to go */
    return slot_seen(s, text, code, now);
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
        ret[i] = (struct reply_shape){.shape = order[i].shape,
                                      .example = order[i].example,
                                      .code = order[i].code,
                                      .count = order[i].count,
                                      .error = order[i].error,
                                      .last = order[i].last};
    free(order);
    return n;
}
