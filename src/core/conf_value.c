/*
 * core/conf_value.c - the text of a value becomes the typed field of a row.
 *
 * Called by the parser for what files say and for defaults. Never touches the field when it reports
 * an error; every report shows what would be right.
 */
#include "core/conf_inner.h"
#include "core/err.h"

bool
conf_is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

/* Takes a quoted text off *rest; its bytes go to the arena. */
static int
take_quoted(const struct conf_scope *scope, struct str *rest, struct str *ret)
{
    struct str s = str_from(*rest, 1);
    char *text = arena_alloc(scope->arena, s.n + 1);
    size_t n = 0;

    if (!text)
        return conf_scope_fail(scope, "out of memory");
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '"') {
            *ret = str_of(text, n);
            *rest = str_from(s, i + 1);
            return 0;
        }
        if (c == '\\') {
            i++;
            c = i < s.n ? s.p[i] : '\0';
            if (c == 'n')
                c = '\n';
            else if (c != '"' && c != '\\')
                return conf_scope_fail(scope, "unknown escape in quoted text; only \\\" \\\\ and "
                                              "\\n exist");
        }
        text[n++] = c;
    }
    return conf_scope_fail(scope, "quoted text without its closing quote");
}

/* Takes bare text up to a comma or a comment. */
static int
take_bare(const struct conf_scope *scope, struct str *rest, struct str *ret)
{
    struct str s = *rest;
    size_t n = 0;

    for (; n < s.n && s.p[n] != ','; n++) {
        if (s.p[n] == '"')
            return conf_scope_fail(scope, "a quote inside bare text; put all of the text in "
                                          "quotes, with \\\" for a quote");
        if (s.p[n] != '#')
            continue;
        if (n && s.p[n - 1] != ' ' && s.p[n - 1] != '\t')
            return conf_scope_fail(scope, "a # inside a word; put the text in quotes, or a space "
                                          "before a comment");
        break;
    }
    *ret = str_trim(str_of(s.p, n));
    *rest = str_from(s, n);
    if (ret->n)
        *ret = arena_str(scope->arena, *ret);
    if (n && !ret->p)
        return conf_scope_fail(scope, "out of memory");
    return 0;
}

int
conf_items_parse(const struct conf_scope *scope, struct str raw, struct conf_items *ret)
{
    struct str rest = str_trim(raw);
    size_t most = 1;
    int r;

    for (size_t i = 0; i < rest.n; i++)
        most += rest.p[i] == ',';
    *ret = (struct conf_items){.items = ARENA_ARRAY(scope->arena, struct conf_item, most)};
    if (!ret->items)
        return conf_scope_fail(scope, "out of memory");
    for (;;) {
        struct conf_item *item = &ret->items[ret->n];

        item->quoted = rest.n && rest.p[0] == '"';
        r = item->quoted ? take_quoted(scope, &rest, &item->text)
                         : take_bare(scope, &rest, &item->text);
        if (r < 0)
            return r;
        if (!item->quoted && item->text.n == 0)
            return conf_scope_fail(scope, most == 1 ? "no value; write \"\" for an empty text"
                                                    : "an empty element between commas");
        ret->n++;
        rest = str_trim(rest);
        if (rest.n == 0 || rest.p[0] == '#')
            return 0;
        if (rest.p[0] != ',')
            return conf_scope_fail(scope, "text behind a closing quote; lists have commas between "
                                          "their elements");
        rest = str_trim(str_from(rest, 1));
    }
}

static bool
is_list(enum conf_type type)
{
    return type == CONF_FLAGS || type == CONF_TEXTS || type == CONF_ENDPOINTS ||
           type == CONF_PREFIXES || type == CONF_DURATIONS || type == CONF_LINES;
}

static const char *
word_name(const void *ctx, size_t i)
{
    return ((const char *const *)ctx)[i];
}

static size_t
words_count(const char *const *words)
{
    size_t n = 0;

    while (words && words[n])
        n++;
    return n;
}

/* The word's index or -1. */
static ssize_t
word_find(const struct conf_row *row, struct str text)
{
    for (size_t i = 0; row->words && row->words[i]; i++)
        if (str_ieq(str_c(row->words[i]), text))
            return (ssize_t)i;
    return -1;
}

static int
set_word(const struct conf_scope *scope, const struct conf_row *row, struct str text,
         size_t *ret_index)
{
    size_t n = words_count(row->words);
    ssize_t found = word_find(row, text);
    char list[256] = "", hint[96];
    size_t at = 0;

    if (found >= 0) {
        *ret_index = (size_t)found;
        return 0;
    }
    for (size_t i = 0; i < n; i++)
        at += str_fmt(list + at, sizeof(list) - at, "%s%s", i ? ", " : "", row->words[i]);
    return conf_scope_fail(scope, "`%s`: `%.*s` is not one of: %s%s", row->name, CONF_SHOWN(text),
                           list, conf_hint(conf_nearest(text, word_name, row->words, n), hint));
}

static const char *
show_amount(enum conf_type type, uint64_t v, char dst[32])
{
    if (type == CONF_SIZE)
        return str_show_size(v, dst);
    if (type == CONF_DURATION || type == CONF_DURATIONS)
        return str_show_duration(v, dst);
    str_fmt(dst, 32, "%llu", (unsigned long long)v);
    return dst;
}

static int
check_bounds(const struct conf_scope *scope, const struct conf_row *row, struct str text,
             uint64_t v)
{
    char least[32], most[32];

    if (v >= row->min && (row->max == 0 || v <= row->max))
        return 0;
    show_amount(row->type, row->min, least);
    show_amount(row->type, row->max, most);
    if (row->max == 0)
        return conf_scope_fail(scope, "`%s`: %.*s is too small; it must be at least %s", row->name,
                               CONF_SHOWN(text), least);
    return conf_scope_fail(scope, "`%s`: %.*s is too %s; it must be from %s to %s", row->name,
                           CONF_SHOWN(text), v < row->min ? "small" : "large", least, most);
}

static int
set_amount(const struct conf_scope *scope, const struct conf_row *row, struct str text,
           uint64_t *ret)
{
    const char *what = "a number", *example = "100";
    uint64_t v;
    int r;

    switch (row->type) {
    case CONF_SIZE:
        what = "a size";
        example = "64 KB, 10 MB or 1 GB";
        r = str_size(text, &v);
        break;
    case CONF_DURATION:
    case CONF_DURATIONS:
        what = "a time span";
        example = "250ms, 30s, 5m, 2h or 1d";
        r = str_duration(text, &v);
        break;
    default:
        r = str_u64(text, &v);
        break;
    }
    if (r == ERR_LIMIT)
        return conf_scope_fail(scope, "`%s`: `%.*s` is too large for any computer", row->name,
                               CONF_SHOWN(text));
    if (r < 0)
        return conf_scope_fail(scope, "`%s`: `%.*s` is not %s; write for example %s", row->name,
                               CONF_SHOWN(text), what, example);
    r = check_bounds(scope, row, text, v);
    if (r < 0)
        return r;
    *ret = v;
    return 0;
}

static int
set_bool(const struct conf_scope *scope, const struct conf_row *row, struct str text, bool *ret)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"yes", true},  {"no", false},  {"on", true},
                 {"off", false}, {"true", true}, {"false", false}};

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (str_ieq(str_c(words[i].word), text)) {
            *ret = words[i].value;
            return 0;
        }
    }
    return conf_scope_fail(scope, "`%s`: `%.*s` is neither yes nor no", row->name,
                           CONF_SHOWN(text));
}

static int
set_rate(const struct conf_scope *scope, const struct conf_row *row, struct str text,
         struct rate *ret)
{
    struct str amount = text, burst = STR_NONE;
    ssize_t at = str_find(text, STR(" burst "));
    struct rate rate = {0};

    if (str_ieq(text, STR("none"))) {
        *ret = rate;
        return 0;
    }
    if (at >= 0) {
        amount = str_of(text.p, (size_t)at);
        burst = str_trim(str_from(text, (size_t)at + 7));
    }
    if (str_rate(str_trim(amount), &rate.count, &rate.period_ns) < 0 ||
        (at >= 0 && (str_u64(burst, &rate.burst) < 0 || rate.burst == 0)))
        return conf_scope_fail(scope,
                               "`%s`: `%.*s` is not a rate; write for example 100/s, 30/min, "
                               "100/s burst 20, or none for no limit",
                               row->name, CONF_SHOWN(text));
    *ret = rate;
    return 0;
}

static int
set_name(const struct conf_scope *scope, const struct conf_row *row, struct str text,
         struct str *ret)
{
    size_t n = 0;

    while (n < text.n && conf_is_name_char(text.p[n]))
        n++;
    if (n == 0 || n < text.n)
        return conf_scope_fail(scope,
                               "`%s`: `%.*s` is not a name; it may have letters, digits, "
                               "- _ and . only",
                               row->name, CONF_SHOWN(text));
    *ret = text;
    return 0;
}

/* RFC 1035 2.3.4: 63 bytes a label, 253 shown in all. Underscores occur in real names. */
static bool
is_domain(struct str s)
{
    struct str rest = s;

    if (s.n == 0 || s.n > 253 || s.p[s.n - 1] == '.')
        return false;
    while (rest.n) {
        struct str label = str_cut(rest, '.', &rest);

        if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return false;
        for (size_t i = 0; i < label.n; i++)
            if (!conf_is_name_char(label.p[i]))
                return false;
    }
    return true;
}

static int
set_domain(const struct conf_scope *scope, const struct conf_row *row, struct str text,
           struct str *ret)
{
    struct str name = text;
    char *lower;

    if (name.n > 1 && name.p[name.n - 1] == '.')
        name.n--;
    if (!is_domain(name))
        return conf_scope_fail(scope,
                               "`%s`: `%.*s` is not a domain name; write for example "
                               "mx.example.com (other scripts in their xn-- form)",
                               row->name, CONF_SHOWN(text));
    name = arena_str(scope->arena, name);
    if (!name.p)
        return conf_scope_fail(scope, "out of memory");
    lower = (char *)(uintptr_t)name.p;
    str_lower(lower, name.n);
    *ret = name;
    return 0;
}

static int
set_path(const struct conf_scope *scope, struct str text, struct str *ret)
{
    struct str path = conf_relative(scope->arena, scope->file, text);

    if (!path.p)
        return conf_scope_fail(scope, "out of memory");
    *ret = path;
    return 0;
}

static int
set_endpoint(const struct conf_scope *scope, const struct conf_row *row, struct str text,
             struct endpoint *ret)
{
    if (endpoint_parse(text, (uint16_t)row->min, ret) == 0)
        return 0;
    return conf_scope_fail(scope,
                           "`%s`: `%.*s` is not an address%s; write for example 192.0.2.1:25 or "
                           "[2001:db8::1]:25 (0.0.0.0 and [::] for all)",
                           row->name, CONF_SHOWN(text), row->min ? "" : " with a port");
}

static int
set_addr(const struct conf_scope *scope, const struct conf_row *row, struct str text,
         struct addr *ret)
{
    if (addr_parse(text, ret) == 0)
        return 0;
    return conf_scope_fail(scope,
                           "`%s`: `%.*s` is not an address; write for example 192.0.2.1 or "
                           "2001:db8::1",
                           row->name, CONF_SHOWN(text));
}

static int
set_prefix(const struct conf_scope *scope, const struct conf_row *row, struct str text,
           struct prefix *ret)
{
    if (prefix_parse(text, ret) == 0)
        return 0;
    return conf_scope_fail(scope,
                           "`%s`: `%.*s` is not a network; write for example 192.0.2.0/24, "
                           "2001:db8::/32 or a single address",
                           row->name, CONF_SHOWN(text));
}

static int
set_flags(const struct conf_scope *scope, const struct conf_row *row,
          const struct conf_items *items, uint64_t *ret)
{
    uint64_t flags = 0;
    int r;

    for (size_t i = 0; i < items->n; i++) {
        size_t index = 0;

        r = set_word(scope, row, items->items[i].text, &index);
        if (r < 0)
            return r;
        ENSURE(index < 64);
        flags |= UINT64_C(1) << index;
    }
    *ret = flags;
    return 0;
}

static int
set_points(const struct conf_scope *scope, const struct conf_row *row, struct str text,
           int64_t *ret)
{
    int64_t least = -(int64_t)row->min, most = row->max ? (int64_t)row->max : INT32_MAX;
    int64_t value;

    if (str_ieq(text, STR("none"))) {
        *ret = CONF_POINTS_NONE;
        return 0;
    }
    if (str_points(text, &value) < 0)
        return conf_scope_fail(scope,
                               "`%s`: `%.*s` is not a number of points; write for example 5, 1.5 "
                               "or none",
                               row->name, CONF_SHOWN(text));
    if (value < least || value > most)
        return conf_scope_fail(scope, "`%s`: %.*s points are too %s", row->name, CONF_SHOWN(text),
                               value < least ? "few" : "many");
    *ret = value;
    return 0;
}

static size_t
element_size(enum conf_type type)
{
    switch (type) {
    case CONF_ENDPOINTS:
        return sizeof(struct endpoint);
    case CONF_PREFIXES:
        return sizeof(struct prefix);
    case CONF_DURATIONS:
        return sizeof(uint64_t);
    case CONF_LINES:
        return sizeof(struct conf_line);
    default:
        return sizeof(struct str);
    }
}

/* Behind what the row was given before. The room doubles at each power of two. */
static int
add_lines(const struct conf_scope *scope, const struct conf_items *items, struct conf_list *ret)
{
    for (size_t i = 0; i < items->n; i++) {
        size_t n = ret->n;

        if ((n & (n - 1)) == 0) {
            void *more = ARENA_ARRAY(scope->arena, struct conf_line, MAX(2 * n, (size_t)1));

            if (!more)
                return conf_scope_fail(scope, "out of memory");
            if (n)
                memcpy(more, ret->items, n * sizeof(struct conf_line));
            ret->items = more;
        }
        ((struct conf_line *)ret->items)[n] =
            (struct conf_line){items->items[i].text, scope->file, scope->line};
        ret->n = n + 1;
    }
    return 0;
}

static int
set_list(const struct conf_scope *scope, const struct conf_row *row, const struct conf_items *items,
         struct conf_list *ret)
{
    size_t size = element_size(row->type);
    char *array = arena_array(scope->arena, size, items->n);
    int r = 0;

    if (!array)
        return conf_scope_fail(scope, "out of memory");
    for (size_t i = 0; i < items->n; i++) {
        void *element = array + i * size;
        struct str text = items->items[i].text;
        int one;

        if (row->type == CONF_ENDPOINTS) {
            one = set_endpoint(scope, row, text, element);
        } else if (row->type == CONF_PREFIXES) {
            one = set_prefix(scope, row, text, element);
        } else if (row->type == CONF_DURATIONS) {
            one = set_amount(scope, row, text, element);
        } else {
            *(struct str *)element = text;
            one = 0;
        }
        r = one < 0 ? one : r; /* the other elements may have errors to tell of, too */
    }
    if (r < 0)
        return r;
    *ret = (struct conf_list){.items = array, .n = items->n};
    return 0;
}

static int
set_single(const struct conf_scope *scope, const struct conf_row *row, struct str text, void *field)
{
    size_t index = 0;
    int r;

    switch (row->type) {
    case CONF_BOOL:
        return set_bool(scope, row, text, field);
    case CONF_RATE:
        return set_rate(scope, row, text, field);
    case CONF_WORD:
        r = set_word(scope, row, text, &index);
        if (r == 0)
            *(int *)field = (int)index;
        return r;
    case CONF_TEXT:
        *(struct str *)field = text;
        return 0;
    case CONF_NAME:
        return set_name(scope, row, text, field);
    case CONF_DOMAIN:
        return set_domain(scope, row, text, field);
    case CONF_PATH:
        return set_path(scope, text, field);
    case CONF_ENDPOINT:
        return set_endpoint(scope, row, text, field);
    case CONF_ADDR:
        return set_addr(scope, row, text, field);
    case CONF_POINTS:
        return set_points(scope, row, text, field);
    default:
        return set_amount(scope, row, text, field);
    }
}

/* "" is an empty list, and so is a bare none where it cannot be an element. */
static bool
is_empty_list(const struct conf_row *row, const struct conf_item *item)
{
    if (item->text.n == 0)
        return true;
    return row->type != CONF_TEXTS && row->type != CONF_LINES && !item->quoted &&
           str_ieq(item->text, STR("none")) && word_find(row, item->text) < 0;
}

int
conf_value_set(const struct conf_scope *scope, const struct conf_row *row, struct str raw,
               void *data)
{
    void *field = (char *)data + row->offset;
    struct conf_items items;
    struct str first;
    int r = conf_items_parse(scope, raw, &items);

    if (r < 0)
        return r;
    first = items.items[0].text;
    if (!is_list(row->type)) {
        if (items.n > 1)
            return conf_scope_fail(scope,
                                   "`%s` takes one value, not a list; text with commas "
                                   "goes in quotes",
                                   row->name);
        return set_single(scope, row, first, field);
    }
    if (items.n == 1 && is_empty_list(row, &items.items[0])) {
        if (row->type == CONF_LINES)
            return 0; /* adds nothing */
        memset(field, 0, row->type == CONF_FLAGS ? sizeof(uint64_t) : sizeof(struct conf_list));
        return 0;
    }
    if (row->type == CONF_FLAGS)
        return set_flags(scope, row, &items, field);
    if (row->type == CONF_LINES)
        return add_lines(scope, &items, field);
    return set_list(scope, row, &items, field);
}
