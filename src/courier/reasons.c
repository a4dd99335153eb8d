/*
 * courier/reasons.c - interned texts.
 *
 * Called by outcome and intake. Texts stay until the end: there are few, and a ceiling.
 */
#include "courier/reasons.h"

void
reasons_init(struct reasons *r)
{
    *r = (struct reasons){0};
    map_init(&r->by_text, REASONS_MAX, false);
}

void
reasons_done(struct reasons *r)
{
    for (uint32_t i = 0; i < r->n; i++)
        free(r->texts[i]);
    free(r->texts);
    map_done(&r->by_text);
    *r = (struct reasons){0};
}

uint32_t
reasons_number(struct reasons *r, struct str text)
{
    void *found;
    char *copy;

    text = str_sub(text, 0, 300);
    if (text.n == 0)
        return 0;
    found = map_get(&r->by_text, text);
    if (found)
        return (uint32_t)(uintptr_t)found;
    if (r->n == r->cap) {
        uint32_t cap = r->cap ? 2 * r->cap : 16;
        char **grown = reallocarray(r->texts, cap, sizeof *grown);
        if (!grown)
            return 0;
        r->texts = grown;
        r->cap = cap;
    }
    copy = str_dup(text);
    if (!copy || map_put(&r->by_text, str_of(copy, text.n), (void *)((uintptr_t)r->n + 1)) < 0) {
        free(copy);
        return 0;
    }
    r->texts[r->n++] = copy;
    return r->n;
}

const char *
reasons_text(const struct reasons *r, uint32_t number)
{
    return number > 0 && number <= r->n ? r->texts[number - 1] : "held";
}
