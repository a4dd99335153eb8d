/*
 * courier/reply_class_set.c - the compiled set: words, stems and a trie over words.
 *
 * Called by the parser, read by the matcher. A pattern costs a node for each word that no other
 * pattern begins with; nothing here grows with what a peer sends.
 */
#include "courier/reply_class_inner.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_MAX (64u << 20)
#define WORDS_MAX 100000u

/* Room for one more; items start zeroed. */
static int
grow(void **items, uint32_t n, uint32_t *cap, size_t size)
{
    uint32_t more = *cap ? 2 * *cap : 256;
    void *p;

    if (n < *cap)
        return 0;
    p = reallocarray(*items, more, size);
    if (!p)
        return ERR_NOMEM;
    memset((char *)p + *cap * size, 0, (more - *cap) * size);
    *items = p;
    *cap = more;
    return 0;
}

int
reply_set_create(struct reply_classes **ret)
{
    struct reply_classes *s = calloc(1, sizeof *s);
    struct reply_rule nothing = {.class = REPLY_CLASS_PERMANENT, .name = STR("nothing known")};
    uint32_t at;

    if (!s)
        return ERR_NOMEM;
    arena_init(&s->arena, ARENA_MAX);
    map_init(&s->words, WORDS_MAX, false);
    map_init(&s->names, WORDS_MAX, false);
    s->nwords = REPLY_WORD_FIRST;
    if (grow((void **)&s->nodes, 0, &s->nodes_cap, sizeof *s->nodes) < 0 ||
        grow((void **)&s->ends, 0, &s->ends_cap, sizeof *s->ends) < 0 ||
        grow((void **)&s->stems, 0, &s->stems_cap, sizeof *s->stems) < 0 ||
        reply_set_rule(s, &nothing, &at) < 0 || reply_set_provider(s, STR_NONE, &at) < 0) {
        reply_classes_free(s);
        return ERR_NOMEM;
    }
    s->nnodes = s->nends = s->nstems = 1; /* number 0: the root; none */
    *ret = s;
    return 0;
}

void
reply_classes_free(struct reply_classes *s)
{
    if (!s)
        return;
    arena_done(&s->arena);
    map_done(&s->words);
    map_done(&s->names);
    for (uint32_t i = 0; i < s->nproviders; i++)
        free(s->providers[i].hosts);
    free(s->stems);
    free(s->edges);
    free(s->begins);
    free(s->nodes);
    free(s->ends);
    free(s->rules);
    free(s->providers);
    free(s);
}

int
reply_set_rule(struct reply_classes *s, const struct reply_rule *rule, uint32_t *ret)
{
    int err = grow((void **)&s->rules, s->nrules, &s->rules_cap, sizeof *s->rules);

    if (err < 0)
        return err;
    if (s->nrules == REPLY_RULES_MAX)
        return ERR_LIMIT;
    s->rules[s->nrules] = *rule;
    *ret = s->nrules++;
    return 0;
}

int
reply_set_provider(struct reply_classes *s, struct str name, uint32_t *ret)
{
    int err;

    for (uint32_t i = 1; i < s->nproviders; i++) {
        if (str_ieq(s->providers[i].name, name)) {
            *ret = i;
            return 0;
        }
    }
    err = grow((void **)&s->providers, s->nproviders, &s->providers_cap, sizeof *s->providers);
    if (err < 0)
        return err;
    if (s->nproviders == UINT16_MAX)
        return ERR_LIMIT;
    s->providers[s->nproviders].name = arena_str(&s->arena, name);
    *ret = s->nproviders++;
    return 0;
}

int
reply_set_provider_host(struct reply_classes *s, uint32_t provider, struct str host)
{
    struct reply_provider *p = &s->providers[provider];
    struct str *grown = reallocarray(p->hosts, p->nhosts + 1, sizeof *grown);

    if (!grown)
        return ERR_NOMEM;
    p->hosts = grown;
    p->hosts[p->nhosts++] = arena_str(&s->arena, host);
    return 0;
}

void
reply_set_bare(struct reply_classes *s, uint32_t rule)
{
    struct reply_rule *r = &s->rules[rule];
    uint32_t *head = &s->bare[r->enhanced[1] > 9 ? 10 : r->enhanced[1]];

    r->next = *head;
    *head = rule;
}

static uint32_t
edge_slot(uint64_t key, uint32_t cap)
{
    key *= UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(key >> 40) & (cap - 1);
}

uint32_t
reply_set_edge(const struct reply_classes *s, uint32_t node, uint32_t word)
{
    uint64_t key = (uint64_t)node << 20 | word;

    if (s->edges_cap == 0 || word == 0)
        return 0;
    for (uint32_t at = edge_slot(key, s->edges_cap);; at = (at + 1) & (s->edges_cap - 1)) {
        uint64_t e = s->edges[at];
        if (e == 0)
            return 0;
        if (e >> 24 == key)
            return (uint32_t)(e & 0xffffff);
    }
}

static void
edge_put(uint64_t *edges, uint32_t cap, uint64_t e)
{
    uint32_t at = edge_slot(e >> 24, cap);

    while (edges[at])
        at = (at + 1) & (cap - 1);
    edges[at] = e;
}

static int
edges_grow(struct reply_classes *s)
{
    uint32_t cap = s->edges_cap ? 2 * s->edges_cap : 4096;
    uint64_t *grown;

    if (s->nedges < s->edges_cap / 2)
        return 0;
    grown = calloc(cap, sizeof *grown);
    if (!grown)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < s->edges_cap; i++) {
        if (s->edges[i])
            edge_put(grown, cap, s->edges[i]);
    }
    free(s->edges);
    s->edges = grown;
    s->edges_cap = cap;
    return 0;
}

static int
node_new(struct reply_classes *s, uint32_t *ret)
{
    int err = grow((void **)&s->nodes, s->nnodes, &s->nodes_cap, sizeof *s->nodes);

    if (err < 0)
        return err;
    if (s->nnodes == REPLY_NODES_MAX)
        return ERR_LIMIT;
    s->nodes[s->nnodes] = (struct reply_node){0};
    *ret = s->nnodes++;
    return 0;
}

/* The node behind `word`, made if there is none. */
static int
node_step(struct reply_classes *s, uint32_t *node, uint32_t word)
{
    uint32_t to = reply_set_edge(s, *node, word);
    int err;

    if (to == 0) {
        if ((err = node_new(s, &to)) < 0 || (err = edges_grow(s)) < 0)
            return err;
        edge_put(s->edges, s->edges_cap, (uint64_t)*node << 44 | (uint64_t)word << 24 | to);
        s->nedges++;
        s->nodes[*node].goes_on = true;
    }
    *node = to;
    return 0;
}

static int
node_gap(struct reply_classes *s, uint32_t *node)
{
    uint32_t to = s->nodes[*node].gap;
    int err;

    if (to == 0) {
        if ((err = node_new(s, &to)) < 0)
            return err;
        s->nodes[*node].gap = to;
    }
    *node = to;
    return 0;
}

int
reply_set_finish(struct reply_classes *s)
{
    s->begins = calloc(s->nwords, sizeof *s->begins);
    if (!s->begins)
        return ERR_NOMEM;
    for (uint32_t i = 1; i < s->nwords; i++)
        s->begins[i] = reply_set_edge(s, 0, i);
    return 0;
}

static uint32_t
word_id(struct reply_classes *s, struct str word)
{
    uint32_t id = (uint32_t)(uintptr_t)map_get(&s->words, word);
    struct str copy;

    if (id)
        return id;
    copy = arena_str(&s->arena, word);
    id = s->nwords;
    if (!copy.p || map_put(&s->words, copy, (void *)(uintptr_t)id) < 0)
        return 0;
    s->nwords++;
    if (memchr(word.p, '.', word.n))
        (void)map_put(&s->names, copy, (void *)(uintptr_t)id);
    return id;
}

uint32_t
reply_set_stem_slot(struct str word)
{
    const unsigned char *p = (const unsigned char *)word.p;

    return (p[0] * 31u * 31u + p[1] * 31u + p[2]) & 1023;
}

static uint32_t
stem_id(struct reply_classes *s, struct str word)
{
    uint32_t slot;

    if (word.n < REPLY_STEM_MIN)
        return 0;
    slot = reply_set_stem_slot(word);
    for (uint32_t at = s->stem_at[slot]; at; at = s->stems[at].next) {
        if (str_eq(s->stems[at].word, word))
            return s->stems[at].id;
    }
    if (grow((void **)&s->stems, s->nstems, &s->stems_cap, sizeof *s->stems) < 0)
        return 0;
    s->stems[s->nstems] = (struct reply_stem){
        .word = arena_str(&s->arena, word), .id = s->nwords, .next = s->stem_at[slot]};
    if (!s->stems[s->nstems].word.p)
        return 0;
    s->stem_at[slot] = s->nstems++;
    return s->nwords++;
}

/* What stands between two spaces of a pattern. */
static int
add_item(struct reply_classes *s, struct str item, uint32_t *node, struct why *why)
{
    struct reply_text t;
    bool stem = item.n > 1 && item.p[item.n - 1] == '*';
    int err = 0;

    if (str_eq(item, STR("*")))
        return node_gap(s, node);
    if (str_eq(item, STR("^")))
        return node_step(s, node, REPLY_WORD_START);
    if (str_eq(item, STR("$")))
        return node_step(s, node, REPLY_WORD_END);
    if (item.n == 1 && strchr("@#%", item.p[0]))
        return node_step(s, node, word_id(s, item));
    reply_text_read(&t, stem ? str_sub(item, 0, item.n - 1) : item, NULL);
    if (t.nwords == 0)
        return 0; /* punctuation */
    for (unsigned i = 0; i < t.nwords && err == 0; i++) {
        struct str word = reply_text_word(&t, i);
        bool cut = stem && i + 1u == t.nwords;
        uint32_t id = cut ? stem_id(s, word) : word_id(s, word);
        if (id == 0)
            return why_set(why, ERR_SYNTAX, "\"%.*s\" is too short before a \"*\"", STR_ARG(item));
        err = node_step(s, node, id);
    }
    return err;
}

int
reply_set_add(struct reply_classes *s, struct str tag, struct str pattern, uint32_t rule,
              struct why *why)
{
    struct str name = str_trim(pattern);
    uint32_t node = 0;
    int err;

    for (struct str item = str_word(&pattern); item.n > 0; item = str_word(&pattern)) {
        /* Anything may stand before and behind. */
        if (str_eq(item, STR("*")) && (node == 0 || str_trim(pattern).n == 0))
            continue;
        if ((err = add_item(s, item, &node, why)) < 0)
            return err == ERR_SYNTAX ? err : why_set(why, err, "%s", err_text(err));
    }
    if (node == 0)
        return why_set(why, ERR_SYNTAX, "no word to look for");
    if ((err = grow((void **)&s->ends, s->nends, &s->ends_cap, sizeof *s->ends)) < 0)
        return why_set(why, err, "%s", err_text(err));
    s->ends[s->nends] =
        (struct reply_end){.rule = rule,
                           .next = s->nodes[node].ends,
                           .name = arena_fmt(&s->arena, "%.*s: %.*s", STR_ARG(tag), STR_ARG(name))};
    if (!s->ends[s->nends].name.p)
        return why_set(why, ERR_NOMEM, "no memory");
    s->nodes[node].ends = s->nends++;
    return 0;
}
