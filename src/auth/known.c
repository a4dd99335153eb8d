/*
 * auth/known.c - copies of answers in a message's arena.
 *
 * Called by the checks that run evaluators. Never asks anybody.
 */
#include "auth/known.h"
#include "core/err.h"

#define KNOWN_FIRST 16u
#define KNOWN_FAIL  64u /* places that only failures may take */

void
auth_known_init(struct auth_known *k, struct arena *arena)
{
    *k = (struct auth_known){.arena = arena};
}

static int
known_link(struct auth_known *k, const struct dns_answer *a)
{
    if (k->n == k->cap) {
        size_t cap = k->cap ? k->cap * 2 : KNOWN_FIRST;
        const struct dns_answer **more = ARENA_ARRAY(k->arena, const struct dns_answer *, cap);

        if (!more)
            return ERR_LIMIT;
        if (k->n)
            memcpy(more, k->items, k->n * sizeof(void *));
        k->items = more;
        k->cap = cap;
    }
    k->items[k->n++] = a;
    return 0;
}

static bool
copy_text(struct arena *arena, struct str *text)
{
    if (text->n)
        *text = arena_str(arena, *text);
    return text->p || !text->n;
}

static size_t
bytes_of(const struct dns_answer *a)
{
    size_t bytes = sizeof(*a) + a->n * sizeof(struct dns_record) + a->name.n;

    for (size_t i = 0; i < a->n; i++)
        bytes += a->records[i].name.n + a->records[i].data.n;
    return bytes;
}

/* It is not there yet. */
static int
known_put(struct auth_known *k, const struct dns_answer *answer)
{
    size_t bytes = bytes_of(answer);
    struct dns_answer *a;

    if (k->n >= AUTH_KNOWN_MAX - KNOWN_FAIL || bytes > AUTH_KNOWN_BYTES - k->bytes)
        return ERR_LIMIT;
    a = ARENA_NEW(k->arena, struct dns_answer);
    if (!a)
        return ERR_LIMIT;
    *a = *answer;
    a->records = answer->n ? ARENA_ARRAY(k->arena, struct dns_record, answer->n) : NULL;
    if ((answer->n && !a->records) || !copy_text(k->arena, &a->name))
        return ERR_LIMIT;
    for (size_t i = 0; i < answer->n; i++) {
        a->records[i] = answer->records[i];
        if (!copy_text(k->arena, &a->records[i].name) || !copy_text(k->arena, &a->records[i].data))
            return ERR_LIMIT;
    }
    k->bytes += bytes;
    return known_link(k, a);
}

int
auth_known_add(struct auth_known *k, const struct dns_answer *answer)
{
    struct auth_answers table = {.items = k->items, .n = k->n};

    return auth_answers_find(&table, answer->name, answer->type) ? 0 : known_put(k, answer);
}

int
auth_known_fail(struct auth_known *k, const struct auth_question *q)
{
    struct dns_answer *a;

    if (k->n >= AUTH_KNOWN_MAX)
        return ERR_LIMIT;
    a = ARENA_NEW(k->arena, struct dns_answer);
    if (!a)
        return ERR_LIMIT;
    *a = (struct dns_answer){.name = arena_str(k->arena, str_of(q->name, q->n)),
                             .type = q->type,
                             .status = DNS_TEMPORARY};
    return a->name.p ? known_link(k, a) : ERR_LIMIT;
}

static const struct dns_answer *
known_more(void *ctx, struct str name, enum dns_type type)
{
    struct auth_known *k = ctx;
    const struct dns_answer *a;

    for (size_t i = k->n; i-- > 0;) { /* one that came since the table was taken */
        if (k->items[i]->type == type && str_eq(k->items[i]->name, name))
            return k->items[i];
    }
    a = k->cached(k->cached_ctx, name, type);
    if (!a || a->type != type || !str_eq(a->name, name) || known_put(k, a) < 0)
        return NULL;
    return k->items[k->n - 1];
}

struct auth_answers
auth_known_table(struct auth_known *k)
{
    return (struct auth_answers){
        .items = k->items, .n = k->n, .more = k->cached ? known_more : NULL, .ctx = k};
}
