/*
 * core/conf.c - parses settings text against tables of rows into one immutable snapshot.
 *
 * Called by every role at start and at reload. Never opens a file, never stops at the first error.
 */
#include <fnmatch.h>

#include "core/conf_inner.h"
#include "core/crc32c.h"
#include "core/err.h"

/* A section while it is being parsed. */
struct draft {
    struct draft *next;
    struct conf_section *section;
    bool bad; /* something in it is wrong */
};

struct parse {
    struct conf *conf;
    const struct conf_texts *texts;
    const struct conf_block *const *blocks;
    size_t nblocks;
    struct conf_errors *errs;
    struct arena scratch;
    struct draft *drafts, **last;
    struct conf_section **last_section;
    size_t next_text; /* texts up to here are parsed */

    struct conf_scope at;
    struct draft *open; /* the block that is open, or the main one */
    unsigned open_line; /* where; 0 in the main block */
    bool skipping;      /* within an unknown block */
    struct str open_name;
};

static const char *
block_name(const void *ctx, size_t i)
{
    return ((const struct conf_block *const *)ctx)[i]->name;
}

static const char *
row_name(const void *ctx, size_t i)
{
    return ((const struct conf_row *)ctx)[i].name;
}

static const struct conf_block *
block_find(const struct parse *p, struct str name)
{
    for (size_t i = 0; i < p->nblocks; i++)
        if (str_eq(str_c(p->blocks[i]->name), name))
            return p->blocks[i];
    return NULL;
}

static const struct conf_row *
row_find(const struct conf_block *block, struct str name)
{
    for (size_t i = 0; i < block->nrows; i++)
        if (str_eq(str_c(block->rows[i].name), name))
            return &block->rows[i];
    return NULL;
}

static struct draft *
draft_find(const struct parse *p, const struct conf_block *block, struct str label)
{
    for (struct draft *d = p->drafts; d; d = d->next)
        if (d->section->block == block && str_eq(d->section->label, label))
            return d;
    return NULL;
}

static void
apply_defaults(struct parse *p, struct draft *draft)
{
    const struct conf_block *block = draft->section->block;
    struct conf_scope scope = {.arena = &p->conf->arena, .errs = p->errs};

    for (size_t i = 0; i < block->nrows; i++) {
        const struct conf_row *row = &block->rows[i];

        if (!row->def || !row->def[0])
            continue;
        scope.file = STR("built-in default");
        if (conf_value_set(&scope, row, str_c(row->def), draft->section->data) < 0)
            draft->bad = true;
    }
}

/* A new section with defaults; NULL (reported) without memory. */
static struct draft *
draft_new(struct parse *p, const struct conf_block *block, struct str label)
{
    struct arena *arena = &p->conf->arena;
    struct draft *draft = ARENA_NEW(&p->scratch, struct draft);
    struct conf_section *section = ARENA_NEW(arena, struct conf_section);

    if (section) {
        section->block = block;
        section->label = arena_str(arena, label);
        section->data = arena_alloc(arena, block->size);
        section->file = p->at.file;
        section->line = p->at.line;
        section->lines = ARENA_ARRAY(arena, unsigned, block->nrows);
        if (!block->labelled)
            section->files = ARENA_ARRAY(arena, struct str, block->nrows);
    }
    if (!draft || !section || !section->label.p || !section->data || !section->lines ||
        (!block->labelled && !section->files)) {
        conf_scope_fail(&p->at, "out of memory");
        return NULL;
    }
    draft->section = section;
    *p->last = draft;
    p->last = &draft->next;
    *p->last_section = section;
    p->last_section = &section->next;
    apply_defaults(p, draft);
    return draft;
}

static bool
is_end(struct str s)
{
    s = str_trim(s);
    return s.n == 0 || s.p[0] == '#';
}

/* The block that has a row of this name, for people who wrote it into the wrong one. */
static const struct conf_block *
other_block_with(const struct parse *p, struct str name)
{
    for (size_t i = 0; i < p->nblocks; i++)
        if (row_find(p->blocks[i], name))
            return p->blocks[i];
    return NULL;
}

static void
unknown_row(struct parse *p, const struct conf_block *block, struct str name)
{
    struct str near = conf_nearest(name, row_name, block->rows, block->nrows);
    const struct conf_block *other = other_block_with(p, name);
    char hint[96], where[96] = "";

    if (block->name[0])
        str_fmt(where, sizeof(where), " in block `%s`", block->name);
    if (!other || near.n)
        conf_scope_fail(&p->at, "unknown row `%.*s`%s%s", CONF_SHOWN(name), where,
                        conf_hint(near, hint));
    else if (other->name[0])
        conf_scope_fail(&p->at, "unknown row `%.*s`%s; it belongs into a block `%s`",
                        CONF_SHOWN(name), where, other->name);
    else
        conf_scope_fail(&p->at, "unknown row `%.*s`%s; it belongs outside of blocks",
                        CONF_SHOWN(name), where);
}

static void
parse_row(struct parse *p, struct str name, struct str value)
{
    const struct conf_block *block;
    const struct conf_row *row;
    struct conf_section *section;
    struct conf_place first;
    size_t index;

    if (p->skipping || !p->open)
        return;
    section = p->open->section;
    block = section->block;
    row = row_find(block, name);
    if (!row) {
        unknown_row(p, block, name);
        p->open->bad = true;
        return;
    }
    index = (size_t)(row - block->rows);
    if (section->lines[index] && row->type != CONF_LINES) {
        first = conf_row_place(section, row->name);
        conf_scope_fail(&p->at, "`%s` is given a second time; the first is at %.*s:%u", row->name,
                        CONF_SHOWN(first.file), first.line);
        p->open->bad = true;
        return;
    }
    if (index < 64)
        section->set |= UINT64_C(1) << index;
    section->lines[index] = p->at.line;
    if (section->files)
        section->files[index] = p->at.file;
    if (conf_value_set(&p->at, row, value, section->data) < 0)
        p->open->bad = true;
}

/* Takes the label off *rest, which then begins with the brace. */
static int
take_label(struct parse *p, struct str *rest, struct str *ret)
{
    struct conf_items items;
    ssize_t close;
    size_t n = 0;

    *ret = STR_NONE;
    if (rest->n && rest->p[0] == '"') {
        close = str_chr(str_from(*rest, 1), '"');
        n = close < 0 ? rest->n : (size_t)close + 2;
        if (conf_items_parse(&p->at, str_of(rest->p, n), &items) < 0)
            return ERR_SYNTAX;
        *ret = items.items[0].text;
        if (ret->n == 0)
            return conf_scope_fail(&p->at, "an empty label");
    } else {
        while (n < rest->n && str_chr(STR(" \t{}=#\","), rest->p[n]) < 0)
            n++;
        *ret = str_of(rest->p, n);
    }
    *rest = str_trim(str_from(*rest, n));
    return 0;
}

static void
unknown_block(struct parse *p, struct str name)
{
    const struct conf_block *other = other_block_with(p, name);
    char hint[96];

    if (other)
        conf_scope_fail(&p->at, "`%.*s` is a row%s%s%s, not a block; write `%.*s = value`%s",
                        CONF_SHOWN(name), other->name[0] ? " of block `" : "", other->name,
                        other->name[0] ? "`" : "", CONF_SHOWN(name),
                        conf_hint(conf_nearest(name, block_name, p->blocks, p->nblocks), hint));
    else
        conf_scope_fail(&p->at, "unknown block `%.*s`%s", CONF_SHOWN(name),
                        conf_hint(conf_nearest(name, block_name, p->blocks, p->nblocks), hint));
}

/* The draft that a block's opening line stands for; NULL if its rows are to be skipped. */
static struct draft *
open_draft(struct parse *p, struct str name, struct str label)
{
    const struct conf_block *block = block_find(p, name);
    struct draft *draft;

    if (!block) {
        unknown_block(p, name);
        return NULL;
    }
    if (block->labelled && label.n == 0) {
        conf_scope_fail(&p->at, "block `%s` needs a label: %s NAME {", block->name, block->name);
        return NULL;
    }
    if (!block->labelled && label.n) {
        conf_scope_fail(&p->at, "block `%s` takes no label; write %s {", block->name, block->name);
        return NULL;
    }
    draft = draft_find(p, block, label);
    if (draft && block->labelled) {
        conf_scope_fail(&p->at, "a second `%s %.*s`; the first is at %.*s:%u", block->name,
                        CONF_SHOWN(label), CONF_SHOWN(draft->section->file), draft->section->line);
        return NULL;
    }
    return draft ? draft : draft_new(p, block, label);
}

static void
parse_open(struct parse *p, struct str name, struct str rest)
{
    struct str label;
    bool bad = take_label(p, &rest, &label) < 0;

    if (!bad && (rest.n == 0 || rest.p[0] != '{')) {
        conf_scope_fail(&p->at, "neither a row nor a block; write `%.*s = value` or `%.*s {`",
                        CONF_SHOWN(name), CONF_SHOWN(name));
        return;
    }
    if (!bad && !is_end(str_from(rest, 1))) {
        conf_scope_fail(&p->at, "text behind {; each row and the closing } have a line of their "
                                "own");
        if (str_chr(rest, '}') >= 0)
            return; /* a whole block on one line: nothing is open behind it */
    }
    if (p->open_line) {
        conf_scope_fail(&p->at, "a block inside block `%.*s` of line %u; is its } missing?",
                        CONF_SHOWN(p->open_name), p->open_line);
        bad = true;
    }
    p->open = bad ? NULL : open_draft(p, name, label);
    p->skipping = p->open == NULL;
    p->open_line = p->at.line;
    p->open_name = name;
}

static void
parse_close(struct parse *p, struct str rest)
{
    if (!is_end(rest))
        conf_scope_fail(&p->at, "text behind }; a new line is needed");
    if (!p->open_line) {
        conf_scope_fail(&p->at, "a } without its {");
        return;
    }
    p->open = p->drafts; /* the main block is the first */
    p->open_line = 0;
    p->skipping = false;
}

static void parse_text(struct parse *p, size_t index, unsigned depth);

/* The loader has put the files of an include behind each other, in the order of reading: those
 * whose names match are the ones that this line brought in. */
static void
parse_include(struct parse *p, struct str value, unsigned depth)
{
    struct conf_errors ignored = {.n = CONF_ERRORS_MAX}; /* the loader has told them */
    struct conf_scope quiet = {
        .arena = &p->scratch, .errs = &ignored, .file = p->at.file, .line = p->at.line};
    struct conf_scope here = p->at;
    struct conf_items items;
    struct str pattern;

    if (p->open_line) {
        conf_scope_fail(&p->at, "an include inside block `%.*s`; it stands outside of blocks",
                        CONF_SHOWN(p->open_name));
        return;
    }
    if (depth >= CONF_DEPTH_MAX || conf_items_parse(&quiet, value, &items) < 0 || items.n != 1)
        return;
    pattern = conf_pattern(&p->scratch, p->at.file, items.items[0].text);
    while (pattern.p && p->next_text < p->texts->n) {
        struct str path = arena_str(&p->scratch, p->texts->items[p->next_text].path);

        if (!path.p || fnmatch(pattern.p, path.p, FNM_PATHNAME | FNM_PERIOD) != 0)
            break;
        parse_text(p, p->next_text++, depth + 1);
        p->at = here;
    }
}

static void
parse_line(struct parse *p, struct str line, unsigned depth)
{
    struct str s = str_trim(line), value;
    size_t n = 0;

    if (is_end(s))
        return;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '\t' && str_has_ctl(str_of(s.p + i, 1))) {
            conf_scope_fail(&p->at, "a control character (byte %u)", (unsigned char)s.p[i]);
            return;
        }
    }
    if (!str_is_utf8(s)) {
        conf_scope_fail(&p->at, "not UTF-8 text");
        return;
    }
    if (s.p[0] == '}') {
        parse_close(p, str_from(s, 1));
        return;
    }
    if (conf_is_include(s, &value)) {
        parse_include(p, value, depth);
        return;
    }
    while (n < s.n && conf_is_name_char(s.p[n]))
        n++;
    value = str_trim(str_from(s, n));
    if (n == 0)
        conf_scope_fail(&p->at, "a line begins with the name of a row or a block, not with `%.*s`",
                        CONF_SHOWN(s));
    else if (value.n && value.p[0] == '=')
        parse_row(p, str_of(s.p, n), str_from(value, 1));
    else
        parse_open(p, str_of(s.p, n), value);
}

static void
parse_text(struct parse *p, size_t index, unsigned depth)
{
    struct str rest = p->texts->items[index].text;

    p->at.line = 0;
    p->at.file = arena_str(&p->conf->arena, p->texts->items[index].path);
    p->conf->digest = crc32c(p->conf->digest, rest.p, rest.n);
    while (rest.n) {
        struct str line = conf_line(&rest);

        p->at.line++;
        parse_line(p, line, depth);
    }
    if (p->open_line) {
        p->at.line = p->open_line;
        conf_scope_fail(&p->at, "block `%.*s` is not closed; its } is missing",
                        CONF_SHOWN(p->open_name));
        p->open = p->drafts;
        p->open_line = 0;
        p->skipping = false;
    }
}

/* Required rows, then the block's own check. */
static void
finish_draft(struct parse *p, struct draft *draft)
{
    const struct conf_section *section = draft->section;
    const struct conf_block *block = section->block;

    for (size_t i = 0; i < block->nrows; i++) {
        const struct conf_row *row = &block->rows[i];

        if (!(row->flags & CONF_REQUIRED) || section->lines[i])
            continue;
        draft->bad = true;
        if (!block->name[0])
            conf_fail(p->errs, section->file, section->line, "`%s` is missing: write `%s = ...`",
                      row->name, row->name);
        else
            conf_fail(p->errs, section->file, section->line,
                      "`%s` is missing in block `%s%s%.*s`: write `%s = ...` there", row->name,
                      block->name, section->label.n ? " " : "", CONF_SHOWN(section->label),
                      row->name);
    }
    draft->section->flawed = draft->bad;
    if (block->check)
        block->check(section, p->errs);
}

static void
parse_all(struct parse *p)
{
    static const struct conf_block empty_main = {.name = "", .size = 1};
    const struct conf_block *main_block = block_find(p, STR_NONE);

    p->at.file = p->texts->n ? arena_str(&p->conf->arena, p->texts->items[0].path) : STR_NONE;
    p->open = draft_new(p, main_block ? main_block : &empty_main, STR_NONE);
    if (!p->open)
        return;
    while (p->next_text < p->texts->n)
        parse_text(p, p->next_text++, 0);
    p->at.file = p->texts->n ? p->conf->sections->file : STR_NONE;
    p->at.line = 0;
    for (size_t i = 0; i < p->nblocks; i++)
        if (!p->blocks[i]->labelled && !draft_find(p, p->blocks[i], STR_NONE))
            draft_new(p, p->blocks[i], STR_NONE);
    for (struct draft *d = p->drafts; d; d = d->next)
        finish_draft(p, d);
}

void
conf_draft(struct conf **ret, const struct conf_texts *texts,
           const struct conf_block *const *blocks, size_t nblocks, uint64_t generation,
           struct conf_errors *errs)
{
    struct conf *conf = calloc(1, sizeof(*conf));
    struct parse p = {
        .conf = conf, .texts = texts, .blocks = blocks, .nblocks = nblocks, .errs = errs};

    *ret = NULL;
    if (!conf) {
        conf_fail(errs, STR_NONE, 0, "out of memory");
        return;
    }
    arena_init(&conf->arena, CONF_ARENA_MAX);
    arena_init(&p.scratch, CONF_ARENA_MAX);
    conf->generation = generation;
    p.last = &p.drafts;
    p.last_section = &conf->sections;
    p.at = (struct conf_scope){.arena = &conf->arena, .errs = errs};
    parse_all(&p);
    arena_done(&p.scratch);
    if (conf->sections)
        *ret = conf;
    else
        conf_free(conf); /* no memory: that was told */
}

void
conf_parse(struct conf **ret, const struct conf_texts *texts,
           const struct conf_block *const *blocks, size_t nblocks, uint64_t generation,
           struct conf_errors *errs)
{
    conf_draft(ret, texts, blocks, nblocks, generation, errs);
    if (errs->n == 0)
        return;
    conf_free(*ret);
    *ret = NULL;
}

void
conf_free(struct conf *c)
{
    if (!c)
        return;
    arena_done(&c->arena);
    free(c);
}

static const struct conf_section *
section_from(const struct conf_section *s, struct str block)
{
    while (s && !str_eq(str_c(s->block->name), block))
        s = s->next;
    return s;
}

const struct conf_section *
conf_first(const struct conf *c, const char *block)
{
    return section_from(c->sections, str_c(block));
}

const struct conf_section *
conf_next(const struct conf_section *s)
{
    return section_from(s->next, str_c(s->block->name));
}

const struct conf_section *
conf_find(const struct conf *c, const char *block, struct str label)
{
    const struct conf_section *s = conf_first(c, block);

    while (s && !str_eq(s->label, label))
        s = conf_next(s);
    return s;
}

const void *
conf_get(const struct conf *c, const char *block)
{
    const struct conf_section *s = conf_first(c, block);

    ENSURE(s); /* unlabelled blocks exist always */
    return s->data;
}
