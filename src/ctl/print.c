/*
 * ctl/print.c - JSON lines from a role become tables and records for people.
 *
 * Called by the command line. Never sends a stranger's control characters to a terminal, never
 * fails for a field that is missing.
 */
#include "ctl/print.h"

#include "core/clock.h"
#include "core/str.h"

#define KEPT      200u /* rows that the widths are learned from */
#define CELL      512u
#define DEPTH_MAX 6u

void
print_safe(FILE *to, const char *text)
{
    struct str rest = str_c(text);

    while (rest.n) {
        size_t n = str_utf8_len(rest);
        unsigned char c = (unsigned char)rest.p[0];
        /* C1 controls are two bytes: c2 80 .. c2 9f */
        bool control = c < 32 || c == 127 || (c == 0xc2 && n == 2 && (uint8_t)rest.p[1] < 0xa0);

        if (n == 0 || control)
            fputc('?', to);
        else
            fwrite(rest.p, 1, n, to);
        rest = str_from(rest, n ? n : 1);
    }
}

/* Characters, not bytes; wide ones count as one. */
static size_t
columns_of(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* Cuts to `max` characters, the last being an ellipsis. */
static void
cut(char *text, size_t cap, size_t max)
{
    size_t n = 0;
    char *p = text;

    if (!max || columns_of(text) <= max)
        return;
    while (*p) {
        if (((unsigned char)*p & 0xc0) != 0x80 && n++ == max - 1)
            break;
        p++;
    }
    str_fmt(p, cap - (size_t)(p - text), "…");
}

static double
number(const json_t *value)
{
    return json_is_integer(value) ? (double)json_integer_value(value) : json_real_value(value);
}

/* A moment: an ISO text stays; seconds since 1970 become "in 12m", "5m ago" or a date. */
static void
show_time(char *dst, size_t cap, const json_t *value)
{
    double at = number(value), now = (double)clock_wall() / (double)NS_PER_S;
    double away = at > now ? at - now : now - at;
    char text[32];

    if (at <= 0) {
        str_fmt(dst, cap, "-");
    } else if (away < 86400 * 2) {
        str_show_duration((uint64_t)away * NS_PER_S, text);
        str_fmt(dst, cap, at > now ? "in %s" : "%s ago", text);
    } else {
        clock_iso((uint64_t)at * NS_PER_S, text);
        str_fmt(dst, cap, "%.10s %.5s", text, text + 11);
    }
}

/* A value as people read it: "12.0 KB", "2h 5m", "in 12m", "2026-11-23 06:44". */
static void
print_value(char *dst, size_t cap, const json_t *value, enum ctl_kind kind)
{
    char text[32];

    if (!value || json_is_null(value)) {
        str_fmt(dst, cap, "-");
    } else if (json_is_string(value)) {
        str_fmt(dst, cap, "%s", json_string_length(value) ? json_string_value(value) : "-");
    } else if (json_is_boolean(value)) {
        str_fmt(dst, cap, "%s", json_is_true(value) ? "yes" : "no");
    } else if (!json_is_number(value)) {
        char *dump = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        str_fmt(dst, cap, "%s", dump ? dump : "?");
        free(dump);
    } else if (kind == CTL_COL_SIZE) {
        str_fmt(dst, cap, "%s", str_show_size((uint64_t)MAX(number(value), 0.0), text));
    } else if (kind == CTL_COL_AGE) {
        uint64_t s = (uint64_t)MAX(number(value), 0.0);

        str_fmt(dst, cap, "%s", str_show_duration(s * NS_PER_S, text));
    } else if (kind == CTL_COL_TIME) {
        show_time(dst, cap, value);
    } else if (json_is_integer(value)) {
        str_fmt(dst, cap, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else {
        str_fmt(dst, cap, "%.1f", json_real_value(value));
    }
}

void
print_table_init(struct print_table *t, FILE *to, const struct ctl_verb *verb)
{
    *t = (struct print_table){.to = to,
                              .columns = verb->columns,
                              .ncolumns = MIN(verb->ncolumns, (size_t)PRINT_COLUMNS),
                              .first = json_array()};
}

/* The kind of a field by its name, for rows that no table of ours foresaw. */
static enum ctl_kind
guess_kind(const char *key)
{
    struct str k = str_c(key);

    if (str_ends(k, STR("_s")) || str_eq(k, STR("age")) || str_eq(k, STR("uptime")))
        return CTL_COL_AGE;
    if (str_eq(k, STR("size")) || str_ends(k, STR("bytes")))
        return CTL_COL_SIZE;
    if (str_eq(k, STR("next")) || str_eq(k, STR("until")) || str_eq(k, STR("since")))
        return CTL_COL_TIME;
    return CTL_COL_TEXT;
}

/* Columns that some kept row has, in the verb's order; else those of the first row. */
static void
choose_columns(struct print_table *t)
{
    size_t n = 0, i;
    json_t *row, *value;
    const char *key;

    for (i = 0; i < t->ncolumns; i++) {
        size_t at;

        json_array_foreach(t->first, at, row)
        {
            if (!json_object_get(row, t->columns[i].key))
                continue;
            t->guessed[n++] = t->columns[i];
            break;
        }
    }
    row = json_array_get(t->first, 0);
    if (n == 0) {
        json_object_foreach(row, key, value)
        {
            if (n < PRINT_COLUMNS)
                t->guessed[n++] = (struct ctl_column){key, key, guess_kind(key), 60};
        }
    }
    t->columns = t->guessed;
    t->ncolumns = n;
}

/* Right-aligned are numbers, sizes and ages. */
static bool
aligned_right(const struct print_table *t, size_t i)
{
    return t->columns[i].kind != CTL_COL_TEXT && t->columns[i].kind != CTL_COL_TIME;
}

static void
print_cell(struct print_table *t, size_t i, const char *text)
{
    size_t n = columns_of(text), pad = n < t->width[i] ? t->width[i] - n : 0;
    bool right = aligned_right(t, i), last = i + 1 == t->ncolumns;

    if (right)
        fprintf(t->to, "%*s", (int)pad, "");
    print_safe(t->to, text);
    if (!right && !last)
        fprintf(t->to, "%*s", (int)pad, "");
    fputs(last ? "\n" : "  ", t->to);
}

static void
cell_text(const struct print_table *t, size_t i, const json_t *row, char dst[CELL])
{
    print_value(dst, CELL, json_object_get(row, t->columns[i].key), t->columns[i].kind);
    cut(dst, CELL, t->columns[i].max);
}

static void
print_row(struct print_table *t, const json_t *row)
{
    char text[CELL];

    for (size_t i = 0; i < t->ncolumns; i++) {
        cell_text(t, i, row, text);
        print_cell(t, i, text);
    }
}

/* Widths are known now: head and kept rows. */
static void
start(struct print_table *t)
{
    char text[CELL];
    size_t at;
    json_t *row;

    t->started = true;
    choose_columns(t);
    for (size_t i = 0; i < t->ncolumns; i++) {
        t->width[i] = columns_of(t->columns[i].title);
        json_array_foreach(t->first, at, row)
        {
            cell_text(t, i, row, text);
            t->width[i] = MAX(t->width[i], columns_of(text));
        }
    }
    for (size_t i = 0; i < t->ncolumns; i++)
        print_cell(t, i, t->columns[i].title);
    json_array_foreach(t->first, at, row) print_row(t, row);
}

void
print_table_row(struct print_table *t, json_t *row)
{
    if (!json_is_object(row))
        return;
    if (t->started) {
        print_row(t, row);
        return;
    }
    json_array_append(t->first, row);
    if (json_array_size(t->first) >= KEPT)
        start(t);
}

void
print_table_end(struct print_table *t)
{
    if (!t->started && json_array_size(t->first))
        start(t);
    json_decref(t->first);
    t->first = NULL;
}

static void print_fields(FILE *to, const json_t *object, unsigned indent, unsigned depth);

static void
print_field(FILE *to, const char *key, const json_t *value, unsigned indent, unsigned depth)
{
    char text[4096];
    size_t i;
    json_t *item;

    fprintf(to, "%*s", (int)indent, "");
    print_safe(to, key);
    fputc(':', to);
    if (depth < DEPTH_MAX && json_is_object(value)) {
        fputc('\n', to);
        print_fields(to, value, indent + 2, depth + 1);
        return;
    }
    if (depth < DEPTH_MAX && json_is_array(value) && json_is_object(json_array_get(value, 0))) {
        fputc('\n', to);
        json_array_foreach(value, i, item)
        {
            fprintf(to, "%*s%zu.\n", (int)indent + 2, "", i + 1);
            print_fields(to, item, indent + 4, depth + 1);
        }
        return;
    }
    print_value(text, sizeof(text), value, guess_kind(key));
    fputc(' ', to);
    print_safe(to, text);
    fputc('\n', to);
}

static void
print_fields(FILE *to, const json_t *object, unsigned indent, unsigned depth)
{
    json_t *value;
    const char *key;

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
        print_field(to, key, value, indent, depth);
}

void
print_flow(FILE *to, const json_t *line)
{
    const char *key, *space = "";
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)line, key, value)
    {
        char room[8192];

        print_value(room, sizeof(room), value, CTL_COL_TEXT);
        fputs(space, to);
        print_safe(to, room);
        space = " ";
    }
    fputc('\n', to);
}

void
print_said(FILE *to, const char *text)
{
    struct str rest = str_c(text);

    do {
        struct str one = str_cut(rest, '\n', &rest);
        char room[8192];

        str_fmt(room, sizeof(room), "%.*s", STR_ARG(one));
        print_safe(to, room);
        fputc('\n', to);
    } while (rest.n);
}

void
print_record(FILE *to, const json_t *line, unsigned indent)
{
    const json_t *text = json_object_get(line, "text");
    struct str rest = str_of(json_string_value(text), json_string_length(text));

    if (!rest.n) {
        print_fields(to, line, indent, 0);
        return;
    }
    while (rest.n) {
        struct str one = str_cut(rest, '\n', &rest);
        char room[8192];

        str_fmt(room, sizeof(room), "%.*s", STR_ARG(one));
        fprintf(to, "%*s", (int)indent, "");
        print_safe(to, room);
        fputc('\n', to);
    }
}
