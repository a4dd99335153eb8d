/*
 * core/conf_error.c - gathering what is wrong with the settings, and guessing what was meant.
 *
 * Called by the loader, the parser and the checks of blocks. Never prints: the role that asked for
 * the settings does.
 */
#include <stdarg.h>

#include "core/conf_inner.h"
#include "core/err.h"

#define NEAR_MAX 64 /* longer names are not guessed */

static void PRINTF_LIKE(4, 0) conf_fail_list(struct conf_errors *errs, struct str file,
                                             unsigned line, const char *fmt, va_list ap)
{
    static struct conf_error no_memory; /* an error must never look like none */
    struct conf_error *items;
    struct str text;
    char room[1024];

    if (errs->n >= CONF_ERRORS_MAX)
        return;
    if (errs->arena.max == 0)
        arena_init(&errs->arena, 4u << 20);
    if (vsnprintf(room, sizeof(room), fmt, ap) < 0)
        room[0] = '\0';
    str_defuse(room, strlen(room)); /* goes to terminals and logs */
    text = arena_str(&errs->arena, str_c(room));
    file = arena_str(&errs->arena, file);
    if (errs->n == errs->cap && text.p) {
        items = ARENA_ARRAY(&errs->arena, struct conf_error, errs->cap * 2 + 16);
        if (items && errs->n)
            memcpy(items, errs->items, errs->n * sizeof(*items));
        if (items) {
            errs->items = items;
            errs->cap = errs->cap * 2 + 16;
        }
    }
    if (errs->n < errs->cap && text.p) {
        errs->items[errs->n++] = (struct conf_error){.file = file, .line = line, .text = text};
    } else if (errs->n == 0) {
        no_memory = (struct conf_error){.text = STR("out of memory")};
        errs->items = &no_memory;
        errs->n = errs->cap = 1;
    }
}

void
conf_fail(struct conf_errors *errs, struct str file, unsigned line, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    conf_fail_list(errs, file, line, fmt, ap);
    va_end(ap);
}

/* Its place in the table; nrows: not given. */
static size_t
row_given(const struct conf_section *s, const char *row)
{
    size_t i = 0;

    while (i < s->block->nrows &&
           !(row && s->lines && s->lines[i] && !strcmp(s->block->rows[i].name, row)))
        i++;
    return i;
}

struct conf_place
conf_row_place(const struct conf_section *s, const char *row)
{
    size_t i = row_given(s, row);

    if (i == s->block->nrows)
        return (struct conf_place){s->file, s->line};
    return (struct conf_place){s->files ? s->files[i] : s->file, s->lines[i]};
}

void
conf_fail_row(struct conf_errors *errs, const struct conf_section *s, const char *row,
              const char *fmt, ...)
{
    struct conf_place at = conf_row_place(s, row);
    bool there = row_given(s, row) < s->block->nrows;
    va_list ap;

    if (row && !there && s->flawed)
        return;
    for (size_t i = 0; there && s->flawed && i < errs->n; i++)
        if (errs->items[i].line == at.line && str_eq(errs->items[i].file, at.file))
            return;
    va_start(ap, fmt);
    conf_fail_list(errs, at.file, at.line, fmt, ap);
    va_end(ap);
}

int
conf_scope_fail(const struct conf_scope *scope, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    conf_fail_list(scope->errs, scope->file, scope->line, fmt, ap);
    va_end(ap);
    return ERR_SYNTAX;
}

/* In the order of the lines of each file; files stay in the order they were read. */
static void
errors_sort(struct conf_errors *errs)
{
    for (size_t i = 1; i < errs->n; i++)
        for (size_t k = i; k > 0; k--) {
            struct conf_error *a = &errs->items[k - 1], *b = &errs->items[k];
            if (!str_eq(a->file, b->file) || a->line <= b->line)
                break;
            struct conf_error later = *a;
            *a = *b;
            *b = later;
        }
}

void
conf_errors_text(struct conf_errors *errs, const char *word, struct buf *out)
{
    errors_sort(errs);
    for (size_t i = 0; i < errs->n; i++) {
        const struct conf_error *e = &errs->items[i];
        buf_str(out, e->file);
        if (e->line) /* 0: of the file as a whole */
            buf_fmt(out, ":%u", e->line);
        buf_fmt(out, ": %s%.*s\n", word, STR_ARG(e->text));
    }
}

void
conf_errors_json(struct conf_errors *errs, bool notes, struct buf *out)
{
    errors_sort(errs);
    for (size_t i = 0; i < errs->n; i++) {
        const struct conf_error *e = &errs->items[i];
        buf_c(out, "{\"file\":");
        buf_json(out, e->file);
        buf_fmt(out, ",\"line\":%u,\"text\":", e->line);
        buf_json(out, e->text);
        buf_c(out, notes ? ",\"note\":true}\n" : "}\n");
    }
}

void
conf_errors_done(struct conf_errors *errs)
{
    arena_done(&errs->arena);
    *errs = (struct conf_errors){0};
}

/* Edits (a letter more, less, other, or two swapped) between two texts of at most NEAR_MAX bytes.
 */
static unsigned
edit_distance(struct str a, struct str b)
{
    unsigned rows[3][NEAR_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];

    for (unsigned j = 0; j <= b.n; j++) {
        above[j] = j;
        before[j] = 0;
    }
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned *spare = before;

        row[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            unsigned same = a.p[i - 1] == b.p[j - 1] ? 0 : 1;
            unsigned best = MIN(above[j] + 1, row[j - 1] + 1);

            best = MIN(best, above[j - 1] + same);
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1])
                best = MIN(best, before[j - 2] + 1);
            row[j] = best;
        }
        before = above;
        above = row;
        row = spare;
    }
    return above[b.n];
}

struct str
conf_nearest(struct str text, const char *(*name)(const void *ctx, size_t i), const void *ctx,
             size_t n)
{
    struct str nearest = STR_NONE;
    unsigned least = UINT32_MAX;

    if (text.n == 0 || text.n > NEAR_MAX)
        return STR_NONE;
    for (size_t i = 0; i < n; i++) {
        struct str candidate = str_c(name(ctx, i));
        unsigned distance;

        if (candidate.n == 0 || candidate.n > NEAR_MAX)
            continue;
        distance = edit_distance(text, candidate);
        if (distance < least) {
            least = distance;
            nearest = candidate;
        }
    }
    /* a third of the letters may be wrong, one always */
    return least <= MAX(text.n / 3, (size_t)1) ? nearest : STR_NONE;
}

const char *
conf_hint(struct str near, char dst[96])
{
    dst[0] = '\0';
    if (near.n)
        str_fmt(dst, 96, "; did you mean `%.*s`?", CONF_SHOWN(near));
    return dst;
}
