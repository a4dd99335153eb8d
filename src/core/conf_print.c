/*
 * core/conf_print.c - the tables of rows as a manual page and as docs/configuration.md.
 *
 * Called by the build and by `gapura --print-settings`. Never says anything that is not in a row.
 */
#include "core/conf_inner.h"

#define MAN_COLUMNS 78u

static void
print_bounds(struct buf *out, const struct conf_row *row, const char *(*show)(uint64_t, char[32]))
{
    char text[32];

    if (row->min && row->max) {
        buf_fmt(out, ", %s", show(row->min, text));
        buf_fmt(out, " to %s", show(row->max, text));
    } else if (row->min) {
        buf_fmt(out, ", at least %s", show(row->min, text));
    } else if (row->max) {
        buf_fmt(out, ", at most %s", show(row->max, text));
    }
}

static const char *
show_number(uint64_t v, char dst[32])
{
    str_fmt(dst, 32, "%llu", (unsigned long long)v);
    return dst;
}

static void
print_words(struct buf *out, const struct conf_row *row)
{
    for (size_t i = 0; row->words && row->words[i]; i++) {
        buf_c(out, i ? ", " : " ");
        buf_c(out, row->words[i]);
    }
}

static void
print_type(struct buf *out, const struct conf_row *row)
{
    static const char *const names[] = {
        [CONF_BOOL] = "yes or no",
        [CONF_U64] = "number",
        [CONF_SIZE] = "size",
        [CONF_DURATION] = "time span",
        [CONF_RATE] = "rate",
        [CONF_WORD] = "one of",
        [CONF_FLAGS] = "list of",
        [CONF_TEXT] = "text",
        [CONF_NAME] = "name",
        [CONF_DOMAIN] = "domain name",
        [CONF_PATH] = "path",
        [CONF_TEXTS] = "list of texts",
        [CONF_ENDPOINT] = "address with port",
        [CONF_ENDPOINTS] = "list of addresses with ports",
        [CONF_ADDR] = "address",
        [CONF_PREFIXES] = "list of networks",
        [CONF_DURATIONS] = "list of time spans",
        [CONF_POINTS] = "points or none",
        [CONF_LINES] = "list of texts, may be given several times",
    };

    ENSURE((size_t)row->type < ARRAY_LEN(names));
    buf_c(out, names[row->type]);
    switch (row->type) {
    case CONF_U64:
        print_bounds(out, row, show_number);
        break;
    case CONF_SIZE:
        print_bounds(out, row, str_show_size);
        break;
    case CONF_DURATION:
    case CONF_DURATIONS:
        print_bounds(out, row, str_show_duration);
        break;
    case CONF_WORD:
    case CONF_FLAGS:
        print_words(out, row);
        break;
    case CONF_ENDPOINT:
    case CONF_ENDPOINTS:
        if (row->min)
            buf_fmt(out, ", port %llu unless given", (unsigned long long)row->min);
        break;
    default:
        break;
    }
}

/* A sentence ends here: mdoc wants the next one on a line of its own. */
static bool
sentence_ends(struct str text, size_t i)
{
    return text.p[i] == ' ' && i > 1 && i + 1 < text.n &&
           (text.p[i - 1] == '.' || text.p[i - 1] == ':') && text.p[i + 1] >= 'A' &&
           text.p[i + 1] <= 'Z';
}

/* Text lines of mdoc, a sentence each and not too long: neither a request at the start of one nor
 * an escape within. */
static void
man_text(struct buf *out, struct str text)
{
    bool at_start = true;
    size_t column = 0;

    for (size_t i = 0; i < text.n; i++) {
        ssize_t word = text.p[i] == ' ' ? str_chr(str_from(text, i + 1), ' ') : 0;
        bool wraps = word < 0 ? column + (text.n - i) > MAN_COLUMNS
                              : text.p[i] == ' ' && column + (size_t)word + 1 > MAN_COLUMNS;
        char c = sentence_ends(text, i) || wraps ? '\n' : text.p[i];

        column = c == '\n' ? 0 : column + 1;

        if (at_start && (c == ' ' || c == '\n'))
            continue; /* blank lines and indents mean something to mdoc */
        if (at_start && (c == '.' || c == '\''))
            buf_c(out, "\\&");
        if (c == '\\')
            buf_c(out, "\\e");
        else
            buf_char(out, c);
        at_start = c == '\n';
    }
    if (!at_start)
        buf_char(out, '\n');
}

/* An argument of a macro that shows it as it is, never as a macro of its own. */
static void
man_literal(struct buf *out, const char *macro, struct str text)
{
    buf_fmt(out, ".%s \"\\&", macro);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\\')
            buf_c(out, "\\e");
        else if (text.p[i] == '"')
            buf_c(out, "\\(dq");
        else
            buf_char(out, text.p[i] == '\n' ? ' ' : text.p[i]);
    }
    buf_c(out, "\"\n");
}

static void
man_row(struct buf *out, const struct conf_row *row)
{
    struct buf type;

    buf_init(&type, 4096);
    man_literal(out, "It Ic", str_c(row->name));
    print_type(&type, row);
    buf_c(&type, row->flags & CONF_REQUIRED ? "; required." : ".");
    man_text(out, buf_view(&type));
    buf_done(&type);
    if (row->def && row->def[0]) {
        buf_c(out, "Default:\n");
        man_literal(out, "Li", str_c(row->def));
    }
    if (row->doc) {
        buf_c(out, ".Pp\n");
        man_text(out, str_c(row->doc));
    }
    if (row->flags & CONF_RESTART)
        buf_c(out, "A change takes effect at the next start.\n");
}

void
conf_print_man(struct buf *out, const struct conf_block *const *blocks, size_t nblocks)
{
    buf_c(out, ".Sh SETTINGS\n");
    for (size_t i = 0; i < nblocks; i++) {
        const struct conf_block *block = blocks[i];

        if (block->name[0])
            buf_fmt(out, ".Ss Block %s%s\n", block->name, block->labelled ? " LABEL" : "");
        else
            buf_c(out, ".Ss Main block\n");
        if (block->doc)
            man_text(out, str_c(block->doc));
        if (block->nrows == 0)
            continue;
        buf_c(out, ".Bl -tag -width Ds\n");
        for (size_t r = 0; r < block->nrows; r++)
            man_row(out, &block->rows[r]);
        buf_c(out, ".El\n");
    }
}

/* A cell of a table: one line, no bar. */
static void
markdown_cell(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '|')
            buf_c(out, "\\|");
        else
            buf_char(out, text.p[i] == '\n' ? ' ' : text.p[i]);
    }
}

static void
markdown_row(struct buf *out, const struct conf_row *row)
{
    struct buf type;

    buf_init(&type, 4096);
    print_type(&type, row);
    buf_fmt(out, "| `%s` | ", row->name);
    markdown_cell(out, buf_view(&type));
    buf_done(&type);
    buf_c(out, " | ");
    if (row->flags & CONF_REQUIRED) {
        buf_c(out, "required");
    } else if (row->def && row->def[0]) {
        buf_char(out, '`');
        markdown_cell(out, str_c(row->def));
        buf_char(out, '`');
    }
    buf_c(out, " | ");
    markdown_cell(out, str_c(row->doc));
    if (row->flags & CONF_RESTART)
        buf_c(out, " Takes effect at the next start.");
    buf_c(out, " |\n");
}

void
conf_print_markdown(struct buf *out, const struct conf_block *const *blocks, size_t nblocks)
{
    buf_c(out,
          "# Settings\n\nEvery block and row of `gapura.conf`, as the program itself knows them: "
          "`make "
          "docs` writes this\nfile. The grammar is in gapura.conf(5); `gapura check -c FILE` names "
          "each mistake with its line.\n\n");
    for (size_t i = 0; i < nblocks; i++) {
        const struct conf_block *block = blocks[i];

        if (i)
            buf_char(out, '\n');
        if (block->name[0])
            buf_fmt(out, "## `%s%s { }`\n\n", block->name, block->labelled ? " LABEL" : "");
        else
            buf_c(out, "## Main block\n\n");
        if (block->doc)
            buf_fmt(out, "%s\n\n", block->doc);
        if (block->nrows == 0)
            continue;
        buf_c(out, "| name | type | default | meaning |\n|---|---|---|---|\n");
        for (size_t r = 0; r < block->nrows; r++)
            markdown_row(out, &block->rows[r]);
    }
}
