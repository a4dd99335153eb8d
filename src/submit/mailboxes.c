/*
 * submit/mailboxes.c - lists of addresses, cut at their separators (RFC 5322 3.4).
 *
 * Called by letter.c and sendmail.c. Finds where a domain is missing; what an address is, is
 * mail/header.h's to say. Never changes anything else in a list.
 */
#include "submit/mailboxes.h"

#include "core/err.h"
#include "mail/header.h"

/* One mailbox of a list, or the name of a group. */
struct piece {
    struct str text;
    char closed_by; /* , ; : or 0 at the end */
    bool at_sign;   /* outside of quotes and comments */
    bool word;      /* the last byte belongs to one */
    unsigned words; /* outside of <> */
    bool angle, in_angle, angle_word;
    size_t word_end, angle_end; /* in the list: where a domain would go */
};

/* Behind a quoted string, a comment or a literal that begins at `at`; the end if it is not closed.
 */
static size_t
skip_enclosed(struct str in, size_t at)
{
    char open = in.p[at], close = (char)(open == '(' ? ')' : open == '[' ? ']' : '"');
    unsigned depth = 1;

    for (at++; at < in.n; at++) {
        if (in.p[at] == '\\')
            at++;
        else if (in.p[at] == close && --depth == 0)
            return at + 1;
        else if (in.p[at] == open && open == '(')
            depth++;
    }
    return in.n;
}

static void
piece_word(struct piece *p, size_t end)
{
    if (p->in_angle) {
        p->angle_word = true;
        return;
    }
    if (!p->word)
        p->words++;
    p->word = true;
    p->word_end = end;
}

/* The byte at `at` of a piece; where the next one is. */
static size_t
piece_byte(struct piece *p, struct str in, size_t at)
{
    size_t next = at + 1;

    switch (in.p[at]) {
    case ' ':
    case '\t':
    case '\r':
    case '\n':
        p->word = false;
        break;
    case '(':
        next = skip_enclosed(in, at);
        p->word = false;
        break;
    case '"':
    case '[':
        next = skip_enclosed(in, at);
        piece_word(p, next);
        break;
    case '<':
        p->angle = p->in_angle = true;
        break;
    case '>':
        p->in_angle = false;
        p->angle_end = at;
        break;
    case '@':
        p->at_sign = true;
        break;
    default:
        piece_word(p, next);
    }
    return next;
}

static bool
piece_next(struct str in, size_t *at, struct piece *ret)
{
    size_t start = *at, i = start;

    *ret = (struct piece){0};
    if (start >= in.n)
        return false;
    while (i < in.n) {
        char c = in.p[i];

        if (!ret->in_angle && (c == ',' || c == ';' || c == ':')) {
            ret->closed_by = c;
            break;
        }
        i = piece_byte(ret, in, i);
    }
    ret->text = str_sub(in, start, i - start);
    *at = i + 1;
    return true;
}

void
mailboxes_qualify(struct buf *out, struct str list, struct str origin)
{
    struct piece p;
    size_t at = 0, copied = 0;

    while (piece_next(list, &at, &p)) {
        size_t here = p.angle ? p.angle_end : p.word_end;
        bool lacks = p.angle ? p.angle_word && p.angle_end : p.words == 1;

        if (p.closed_by == ':' || p.at_sign || !lacks)
            continue;
        buf_str(out, str_sub(list, copied, here - copied));
        buf_char(out, '@');
        buf_str(out, origin);
        copied = here;
    }
    buf_str(out, str_from(list, copied));
}

int
mailboxes_each(struct str list, int (*fn)(void *ctx, struct str mailbox), void *ctx)
{
    struct piece p;
    size_t at = 0;
    int n = 0, rc;

    while (piece_next(list, &at, &p)) {
        if (p.closed_by == ':')
            continue;
        rc = header_mailboxes(p.text, fn, ctx);
        if (rc == 0 && (p.words || p.angle_word))
            return ERR_SYNTAX; /* a name without an address */
        if (rc < 0)
            return rc;
        n += rc;
    }
    return n;
}
