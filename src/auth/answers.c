/*
 * auth/answers.c - look-up in the table of known answers; the list of open questions.
 *
 * Called by the evaluators of this room. It never asks anybody.
 */
#include <string.h>

#include "auth/answers.h"

static const struct dns_answer impossible_name = {.status = DNS_NXDOMAIN, .ttl = 3600};

static const struct dns_answer *
answer_of(const struct auth_answers *a, struct str normal, enum dns_type type)
{
    for (size_t i = 0; a && i < a->n; i++) {
        const struct dns_answer *one = a->items[i];
        if (one->type == type && str_eq(one->name, normal))
            return one;
    }
    return NULL;
}

const struct dns_answer *
auth_answers_find(const struct auth_answers *a, struct str name, enum dns_type type)
{
    char normal[256];
    size_t n;

    if (!dns_name_normal(name, normal, &n))
        return NULL;
    return answer_of(a, (struct str){normal, n}, type);
}

static void
need(struct auth_needs *needs, struct str normal, enum dns_type type)
{
    for (unsigned i = 0; i < needs->n; i++) {
        const struct auth_question *q = &needs->items[i];
        if (q->type == type && str_eq((struct str){q->name, q->n}, normal))
            return;
    }
    if (needs->n == AUTH_NEEDS_MAX) {
        needs->full = true;
        return;
    }
    struct auth_question *q = &needs->items[needs->n++];
    q->type = type;
    q->n = normal.n;
    memcpy(q->name, normal.p, normal.n);
    q->name[normal.n] = '\0';
}

const struct dns_answer *
auth_ask(const struct auth_answers *a, struct auth_needs *needs, struct str name,
         enum dns_type type)
{
    const struct dns_answer *found;
    char normal[256];
    size_t n;

    if (!dns_name_normal(name, normal, &n) || n >= sizeof(normal))
        return &impossible_name;
    found = answer_of(a, (struct str){normal, n}, type);
    if (!found)
        need(needs, (struct str){normal, n}, type);
    return found;
}
