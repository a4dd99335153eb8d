/*
 * store/tables.c - text tables of recipients and aliases become keys and values. Pure.
 *
 * Called by sources.c with a file's text. Never opens a file, never follows an :include:, never
 * runs a command that an alias names.
 */
#include "store/tables.h"

#include "core/buf.h"
#include "mail/address.h"

#define TARGETS_MAX (1u << 20) /* bytes of one alias's addresses */
#define KEY_CAP     (ADDRESS_MAX + ADDRESS_DOMAIN_MAX + 2)
#define SHOWN(s)    (int)MIN((s).n, (size_t)80), (s).p ? (s).p : ""

struct reader {
    const struct table_links *links;
    struct why *why;
    struct str rest;
    unsigned line;
    /* the alias being read */
    char from[KEY_CAP];
    size_t nfrom;
    unsigned from_line;
    bool skip; /* it is another block's */
    struct buf targets;
};

static int
fail_line(struct reader *r, const char *text, struct str what)
{
    return why_set(r->why, ERR_SYNTAX, "%.*s:%u: `%.*s` %s", SHOWN(r->links->path), r->line,
                   SHOWN(what), text);
}

/* The next line without its comment and line end; the indent stays. */
static bool
next_line(struct reader *r, struct str *ret)
{
    struct str line;

    if (!r->rest.n)
        return false;
    line = str_cut(r->rest, '\n', &r->rest);
    r->line++;
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] != '#' || (i && line.p[i - 1] != ' ' && line.p[i - 1] != '\t'))
            continue;
        line.n = i;
        break;
    }
    while (line.n && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
        line.n--;
    *ret = line;
    return true;
}

ssize_t
table_key(struct str address, struct str domain, char *dst, size_t cap)
{
    char whole[KEY_CAP];
    struct address a;
    ssize_t n;

    if (address.n > ADDRESS_MAX || domain.n > ADDRESS_DOMAIN_MAX)
        return ERR_LIMIT;
    /* a quoted local part may hold an @ of its own: what follows the quote decides */
    if (str_chr(address, '@') < 0 || (address.p[0] == '"' && address.p[address.n - 1] == '"')) {
        n = (ssize_t)str_fmt(whole, sizeof(whole), "%.*s@%.*s", STR_ARG(address), STR_ARG(domain));
        address = str_of(whole, (size_t)n);
    }
    n = address_parse(address, ADDRESS_ALLOW_UTF8, &a);
    if (n == 0)
        n = address_key(&a, dst, cap);
    if (n > 0)
        str_lower(dst, (size_t)n);
    return n;
}

static struct str
domain_of(struct str key)
{
    ssize_t at = str_rchr(key, '@');

    return str_from(key, (size_t)(at + 1));
}

/* 1: a line of this block, 0: of another block's, negative: an error. */
static int
check_domain(struct reader *r, struct str key, struct str shown)
{
    struct str domain = domain_of(key);

    if (str_eq(domain, r->links->domain))
        return 1;
    if (r->links->served(r->links->ctx, domain))
        return 0;
    return fail_line(r, "is of a domain that no `domain` block serves", shown);
}

static int
recipient_line(struct reader *r, struct str line)
{
    char key[KEY_CAP];
    struct str word = str_word(&line);
    ssize_t n;
    int mine;

    if (!word.n)
        return 0;
    n = table_key(word, r->links->domain, key, sizeof(key));
    if (n < 0)
        return fail_line(r, "is neither an address nor a local part", word);
    mine = check_domain(r, str_of(key, (size_t)n), word);
    if (mine != 1)
        return mine;
    mine = r->links->add(r->links->ctx, str_of(key, (size_t)n), STR_NONE);
    return mine == ERR_EXISTS ? 0 : mine; /* twice is harmless */
}

/* No line is to blame before the first one was read. */
static int
table_stopped(const struct reader *r, int err)
{
    if (r->line == 0)
        return why_set(r->why, err, "%.*s: %s", SHOWN(r->links->path), err_text(err));
    return why_set(r->why, err, "%.*s:%u: %s", SHOWN(r->links->path), r->line, err_text(err));
}

int
table_recipients(struct str text, const struct table_links *links, struct why *why)
{
    struct reader r = {.links = links, .why = why, .rest = text};
    struct str line;
    int got = 0;

    while (got == 0 && next_line(&r, &line))
        got = recipient_line(&r, line);
    if (got < 0 && got != ERR_SYNTAX)
        return table_stopped(&r, got);
    return got;
}

/* Index of the first c outside of quotes, or -1. */
static ssize_t
find_bare(struct str s, char c)
{
    bool quoted = false;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' && quoted)
            i++;
        else if (s.p[i] == '"')
            quoted = !quoted;
        else if (s.p[i] == c && !quoted)
            return (ssize_t)i;
    }
    return -1;
}

static int
alias_target(struct reader *r, struct str target)
{
    char key[KEY_CAP];
    struct address a;
    ssize_t n;

    if (target.p[0] == '|' || target.p[0] == '/' || target.p[0] == ':' ||
        str_starts(target, STR("\"|")))
        return fail_line(r, "is not an address: commands, files and :include: are not supported",
                         target);
    if (str_chr(target, '@') >= 0 && address_parse(target, ADDRESS_ALLOW_UTF8, &a) == 0) {
        buf_str(&r->targets, target); /* elsewhere the case of a local part may count */
    } else {
        n = table_key(target, r->links->domain, key, sizeof(key));
        if (n < 0)
            return fail_line(r, "is neither an address nor a local part", target);
        buf_add(&r->targets, key, (size_t)n);
    }
    buf_char(&r->targets, '\0');
    return r->targets.failed ? fail_line(r, "has too many addresses", target) : 0;
}

static int
alias_targets(struct reader *r, struct str list)
{
    int got = 0;

    while (got == 0 && list.n) {
        ssize_t comma = find_bare(list, ',');
        struct str target = str_trim(comma < 0 ? list : str_sub(list, 0, (size_t)comma));

        list = comma < 0 ? STR_NONE : str_from(list, (size_t)comma + 1);
        if (target.n && !r->skip)
            got = alias_target(r, target);
    }
    return got;
}

/* The alias read so far is whole. */
static int
alias_flush(struct reader *r)
{
    struct str from = str_of(r->from, r->nfrom);
    int got = 0;

    if (!r->nfrom)
        return 0;
    r->nfrom = 0;
    if (r->skip)
        return 0;
    if (!r->targets.n)
        got = ERR_SYNTAX;
    else
        got = r->links->add(r->links->ctx, from, buf_view(&r->targets));
    buf_clear(&r->targets);
    if (got < 0)
        return why_set(r->why, got, "%.*s:%u: `%.*s` %s", SHOWN(r->links->path), r->from_line,
                       SHOWN(from),
                       got == ERR_SYNTAX   ? "has no address behind the colon"
                       : got == ERR_EXISTS ? "stands in the file a second time"
                                           : err_text(got));
    return 0;
}

static int
alias_from(struct reader *r, struct str from)
{
    ssize_t n;
    int mine;

    if (from.n > 1 && from.p[0] == '@') {
        r->from[0] = '@';
        n = address_domain_ascii(str_from(from, 1), r->from + 1, sizeof(r->from) - 1);
        n = n > 0 ? n + 1 : -1;
    } else {
        n = table_key(from, r->links->domain, r->from, sizeof(r->from));
    }
    if (n <= 0)
        return fail_line(r, "is neither an address, a local part nor @domain", from);
    mine = check_domain(r, str_of(r->from, (size_t)n), from);
    if (mine < 0)
        return mine;
    r->skip = mine == 0;
    r->nfrom = (size_t)n;
    r->from_line = r->line;
    return 0;
}

static int
alias_line(struct reader *r, struct str line)
{
    ssize_t colon;
    int got;

    if (!str_trim(line).n)
        return 0;
    if (line.p[0] == ' ' || line.p[0] == '\t') {
        if (!r->nfrom)
            return fail_line(r, "goes on with nothing: an alias begins at the start of its line",
                             str_trim(line));
        return alias_targets(r, str_trim(line));
    }
    got = alias_flush(r);
    if (got < 0)
        return got;
    colon = find_bare(line, ':');
    if (colon <= 0)
        return fail_line(r, "has no colon; write `from: to, to`", line);
    got = alias_from(r, str_trim(str_sub(line, 0, (size_t)colon)));
    return got < 0 ? got : alias_targets(r, str_from(line, (size_t)colon + 1));
}

int
table_aliases(struct str text, const struct table_links *links, struct why *why)
{
    struct reader r = {.links = links, .why = why, .rest = text};
    struct str line;
    int got = 0;

    buf_init(&r.targets, TARGETS_MAX);
    while (got == 0 && next_line(&r, &line))
        got = alias_line(&r, line);
    if (got == 0)
        got = alias_flush(&r);
    buf_done(&r.targets);
    return got;
}
