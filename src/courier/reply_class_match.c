/*
 * courier/reply_class_match.c - finds patterns in a reply's words.
 *
 * Called by the classifier. The walk has a budget of steps, so that no set of patterns and no text
 * can make it slow; with the sets we know it is never used up.
 */
#include "courier/reply_class_inner.h"

#include <string.h>

#define STEPS_MAX 20000u

struct walk {
    const struct reply_classes *s;
    uint32_t ids[REPLY_WORDS_MAX + 2][REPLY_IDS];
    uint32_t n, steps;
    uint32_t *found;
    uint32_t nfound, max;
};

static void
word_ids(const struct reply_classes *s, struct str word, uint32_t ids[REPLY_IDS])
{
    uint32_t n = 0;

    memset(ids, 0, REPLY_IDS * sizeof ids[0]);
    ids[0] = (uint32_t)(uintptr_t)map_get(&s->words, word);
    n = ids[0] != 0;
    if (word.n < REPLY_STEM_MIN)
        return;
    for (uint32_t at = s->stem_at[reply_set_stem_slot(word)]; at && n < REPLY_IDS;
         at = s->stems[at].next) {
        if (str_starts(word, s->stems[at].word))
            ids[n++] = s->stems[at].id;
    }
}

static void
found(struct walk *w, uint32_t end)
{
    for (; end; end = w->s->ends[end].next) {
        uint32_t i = 0;
        while (i < w->nfound && w->s->ends[w->found[i]].rule != w->s->ends[end].rule)
            i++;
        if (i == w->nfound && w->nfound < w->max)
            w->found[w->nfound++] = end;
    }
}

static void walk_from(struct walk *w, uint32_t node, uint32_t at);

/* Depth is the number of words of the longest pattern. */
static void
walk_reached(struct walk *w, uint32_t node, uint32_t at)
{
    const struct reply_node *n = &w->s->nodes[node];

    if (n->ends)
        found(w, n->ends);
    if (n->goes_on)
        walk_from(w, node, at);
    if (n->gap == 0)
        return;
    for (uint32_t i = at; i <= at + REPLY_GAP && i < w->n; i++)
        walk_from(w, n->gap, i);
}

static void
walk_from(struct walk *w, uint32_t node, uint32_t at)
{
    if (at >= w->n || w->steps >= STEPS_MAX)
        return;
    w->steps++;
    for (uint32_t i = 0; i < REPLY_IDS && w->ids[at][i]; i++) {
        uint32_t to = reply_set_edge(w->s, node, w->ids[at][i]);
        if (to)
            walk_reached(w, to, at + 1);
    }
}

uint32_t
reply_match(const struct reply_classes *s, const struct reply_text *t, uint32_t *ret, uint32_t max)
{
    struct walk w;

    w.s = s;
    w.found = ret;
    w.nfound = w.steps = 0;
    w.max = max;
    w.n = t->nwords + 2u;
    memset(w.ids[0], 0, sizeof w.ids[0]);
    memset(w.ids[w.n - 1], 0, sizeof w.ids[0]);
    w.ids[0][0] = REPLY_WORD_START;
    w.ids[w.n - 1][0] = REPLY_WORD_END;
    for (unsigned i = 0; i < t->nwords; i++)
        word_ids(s, reply_text_word(t, i), w.ids[i + 1]);
    for (uint32_t at = 0; at < w.n; at++) {
        for (uint32_t i = 0; i < REPLY_IDS && w.ids[at][i]; i++) {
            uint32_t node = s->begins[w.ids[at][i]];
            if (node)
                walk_reached(&w, node, at + 1);
        }
    }
    return w.nfound;
}
