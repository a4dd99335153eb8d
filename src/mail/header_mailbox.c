/*
 * mail/header_mailbox.c - the mailboxes of From-like fields (RFC 5322 3.4, obsolete forms too).
 *
 * Called by DMARC and by checks for From, Sender, Reply-To, To. Reads tokens, hands out addr-specs
 * without comments and white space; never judges whether they are good SMTP addresses.
 */
#include "core/err.h"
#include "mail/header.h"

#define MAILBOXES_MAX     100u
#define COMMENT_DEPTH_MAX 32u
#define SPEC_MAX          512u

enum token {
    TOKEN_END,
    TOKEN_WORD,   /* atom, dotted text, quoted string, domain literal: kept as written */
    TOKEN_SIGN,   /* one of < > , : ; @ */
    TOKEN_BROKEN, /* unclosed quote, comment or literal */
};

struct mailboxes {
    struct str in;
    size_t at;
    enum token token;
    struct str text;     /* of the token */
    char spec[SPEC_MAX]; /* the addr-spec so far */
    size_t spec_n;
    unsigned words;  /* words since the last separator */
    bool at_sign;    /* spec holds an @ outside of quotes */
    bool after_word; /* the last token was a word */
    bool gap;        /* two words stand side by side: no addr-spec */
    bool over;       /* longer than any address */
    bool routed;     /* a source route was read in the present angle brackets */
    bool closed;     /* an angle address was read for this mailbox */
    bool group;
    int count;
    int (*fn)(void *ctx, struct str mailbox);
    int (*shown)(void *ctx, struct str mailbox); /* or NULL: addr <addr> is an error */
    void *ctx;
};

static bool
skip_comment(struct mailboxes *m)
{
    unsigned depth = 0;

    for (; m->at < m->in.n; m->at++) {
        char c = m->in.p[m->at];

        if (c == '\\') {
            m->at++;
        } else if (c == '(') {
            if (++depth > COMMENT_DEPTH_MAX)
                return false;
        } else if (c == ')' && --depth == 0) {
            m->at++;
            return true;
        }
    }
    return false;
}

/* Text up to and including `close`; backslashes take the next byte along. */
static enum token
take_enclosed(struct mailboxes *m, char close)
{
    size_t start = m->at++;

    for (; m->at < m->in.n; m->at++) {
        if (m->in.p[m->at] == '\\') {
            m->at++;
        } else if (m->in.p[m->at] == close) {
            m->at++;
            m->text = str_sub(m->in, start, m->at - start);
            return TOKEN_WORD;
        }
    }
    return TOKEN_BROKEN;
}

static enum token
take(struct mailboxes *m)
{
    static const char ends[] = " \t\r\n()<>,:;@\"[";
    size_t start;
    char c;

    while (m->at < m->in.n) {
        c = m->in.p[m->at];
        if (c == '(') {
            if (!skip_comment(m))
                return TOKEN_BROKEN;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            m->at++;
        } else {
            break;
        }
    }
    if (m->at >= m->in.n)
        return TOKEN_END;
    c = m->in.p[m->at];
    if (c == '"')
        return take_enclosed(m, '"');
    if (c == '[')
        return take_enclosed(m, ']');
    start = m->at++;
    if (c == ')' || !c)
        return TOKEN_BROKEN;
    if (strchr("<>,:;@", c)) {
        m->text = str_sub(m->in, start, 1);
        return TOKEN_SIGN;
    }
    while (m->at < m->in.n && m->in.p[m->at] && !strchr(ends, m->in.p[m->at]))
        m->at++;
    m->text = str_sub(m->in, start, m->at - start);
    return TOKEN_WORD;
}

static void
restart_spec(struct mailboxes *m)
{
    m->spec_n = 0;
    m->at_sign = m->gap = m->over = m->after_word = false;
}

static void
restart(struct mailboxes *m)
{
    restart_spec(m);
    m->words = 0;
    m->closed = false;
}

/* Too much and words without a dot between them are fine in a display name: emit() judges. */
static void
append(struct mailboxes *m)
{
    bool word = m->token == TOKEN_WORD;

    if (word && m->after_word && m->spec_n && m->spec[m->spec_n - 1] != '.' && m->text.p[0] != '.')
        m->gap = true;
    m->after_word = word;
    if (m->text.n > SPEC_MAX - m->spec_n) {
        m->over = true;
        return;
    }
    memcpy(m->spec + m->spec_n, m->text.p, m->text.n);
    m->spec_n += m->text.n;
}

/* Bytes of the local part, its words atoms and quoted strings; -1 if it is none. Dots may stand in
 * excess: such addresses are in use, and nobody reads another domain in them. */
static ssize_t
local_part(struct str spec)
{
    for (size_t i = 0; i < spec.n; i++) {
        unsigned char c = (unsigned char)spec.p[i];

        if (c == '"') {
            for (i++; i < spec.n && spec.p[i] != '"'; i++)
                i += spec.p[i] == '\\';
        } else if (c == '@') {
            return i ? (ssize_t)i : -1;
        } else if (c <= ' ' || c == 127 || strchr("()<>[]:;\\,", c)) {
            return -1;
        }
    }
    return -1;
}

/* 0 if what was gathered is one addr-spec. */
static int
spec_error(const struct mailboxes *m)
{
    ssize_t at;

    if (m->over)
        return ERR_LIMIT;
    if (!m->at_sign || m->gap)
        return ERR_SYNTAX;
    at = local_part(str_of(m->spec, m->spec_n));
    return at < 0 || (size_t)at + 1 == m->spec_n ? ERR_SYNTAX : 0;
}

static int
emit(struct mailboxes *m)
{
    int rc = spec_error(m);

    if (rc < 0)
        return rc;
    if ((unsigned)++m->count > MAILBOXES_MAX)
        return ERR_LIMIT;
    return m->fn(m->ctx, str_of(m->spec, m->spec_n));
}

/* A sign between "<" and ">". A "," and a ":" stand only in a source route, which is obsolete,
 * begins with "@", and is there once; a second "@" stands nowhere: readers would differ in which
 * domain is the author's. */
static int
angle_sign(struct mailboxes *m, char c, bool *route)
{
    if (c == '@' && !m->spec_n && !*route && !m->routed) {
        *route = m->routed = true;
        return 0;
    }
    if (*route) {
        if (c == ':') {
            *route = false;
            restart_spec(m);
        }
        return strchr("@,:", c) ? 0 : ERR_SYNTAX;
    }
    if (c != '@' || m->at_sign)
        return ERR_SYNTAX;
    m->at_sign = true;
    append(m);
    return 0;
}

/* "<" was read: takes all up to ">", a route dropped. */
static int
angle(struct mailboxes *m)
{
    bool route = false;
    int rc = 0;

    restart_spec(m);
    m->routed = false;
    while (rc == 0) {
        m->token = take(m);
        if (m->token == TOKEN_END || m->token == TOKEN_BROKEN)
            return ERR_SYNTAX;
        if (m->token == TOKEN_WORD) {
            if (!route)
                append(m);
        } else if (m->text.p[0] == '>') {
            break;
        } else {
            rc = angle_sign(m, m->text.p[0], &route);
        }
    }
    if (rc < 0 || route)
        return ERR_SYNTAX;
    m->closed = true;
    return emit(m);
}

/* "<" was read behind an address where a display name belongs: "addr <addr>". */
static int
angle_behind_address(struct mailboxes *m)
{
    int rc = m->shown ? spec_error(m) : ERR_SYNTAX;

    if (rc == 0)
        rc = m->shown(m->ctx, str_of(m->spec, m->spec_n));
    return rc ? rc : angle(m);
}

/* A separator or the end: a bare addr-spec is whole. A display name alone is an error. */
static int
finish(struct mailboxes *m)
{
    int rc = 0;

    if (!m->closed && m->spec_n)
        rc = emit(m);
    restart(m);
    return rc;
}

static int
sign(struct mailboxes *m, char c)
{
    switch (c) {
    case '<':
        if (m->closed)
            return ERR_SYNTAX;
        return m->at_sign ? angle_behind_address(m) : angle(m);
    case ',':
        return finish(m);
    case ':':
        if (m->group || m->closed || m->at_sign || !m->words)
            return ERR_SYNTAX;
        m->group = true;
        restart(m);
        return 0;
    case ';':
        if (!m->group)
            return ERR_SYNTAX;
        m->group = false;
        return finish(m);
    case '@':
        if (m->closed || m->at_sign)
            return ERR_SYNTAX;
        m->at_sign = true;
        append(m);
        return 0;
    default:
        return ERR_SYNTAX;
    }
}

int
header_mailboxes_shown(struct str value, int (*fn)(void *ctx, struct str mailbox),
                       int (*shown)(void *ctx, struct str mailbox), void *ctx)
{
    struct mailboxes m = {.in = value, .fn = fn, .shown = shown, .ctx = ctx};
    int rc;

    while ((m.token = take(&m)) != TOKEN_END) {
        if (m.token == TOKEN_BROKEN)
            return ERR_SYNTAX;
        if (m.token == TOKEN_SIGN) {
            rc = sign(&m, m.text.p[0]);
        } else {
            m.words++;
            rc = m.closed ? ERR_SYNTAX : 0;
            append(&m);
        }
        if (rc)
            return rc < 0 ? rc : m.count;
    }
    rc = finish(&m);
    if (rc)
        return rc < 0 ? rc : m.count;
    return m.group ? ERR_SYNTAX : m.count;
}

int
header_mailboxes(struct str value, int (*fn)(void *ctx, struct str mailbox), void *ctx)
{
    return header_mailboxes_shown(value, fn, NULL, ctx);
}
