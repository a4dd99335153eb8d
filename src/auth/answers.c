/*
 * auth/answers.c - look-up in the table of known answers; the list of open questions.
 *
 * Called by the evaluators of this room. It never asks anybody.
 */
#include <string.h>

#include "auth/answers.h"

#define AUTH_NAME_MAX  253u
#define AUTH_LABEL_MAX 63u

static const struct dns_answer impossible_name = {.status = DNS_NXDOMAIN, .ttl = 3600};

bool
auth_name_normal(struct str name, char *dst, size_t *ret_n)
{
    size_t label = 0;

    if (name.n && name.p[name.n - 1] == '.')
        name.n--;
    if (!name.n || name.n > AUTH_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (c < ' ' || c > '~')
            return false;
        if (c == '.' && !label)
            return false;
        label = c == '.' ? 0 : label + 1;
        if (label > AUTH_LABEL_MAX)
            return false;
        dst[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    dst[name.n] = '\0';
    *ret_n = name.n;
    return label > 0;
}

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

    if (!auth_name_normal(name, normal, &n))
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

    if (!auth_name_normal(name, normal, &n))
        return &impossible_name;
    found = answer_of(a, (struct str){normal, n}, type);
    if (!found && a && a->more)
        found = a->more(a->ctx, (struct str){normal, n}, type);
    if (!found)
        need(needs, (struct str){normal, n}, type);
    return found;
}
