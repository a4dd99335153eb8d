/*
 * mail/dsn_find.c - words in a report's text, whatever their case and wherever its lines break.
 *
 * Called for some hundreds of words over each text, so it is the greater part of reading a report
 * that was written for people.
 */
#include "mail/dsn_inner.h"

static char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool
shape_at(const char *text, struct str needle)
{
    for (size_t k = 0; k < needle.n; k++)
        if (lower(text[k]) != needle.p[k] && (needle.p[k] != ' ' || !is_space(text[k])))
            return false;
    return true;
}

static size_t
next_of(struct str text, size_t from, int c)
{
    const char *at = memchr(text.p + from, c, text.n - from);

    return at ? (size_t)(at - text.p) : text.n;
}

ssize_t
dsn_ifind(struct str text, size_t at, struct str needle)
{
    size_t last, small, big;
    char first;

    if (!needle.n || text.n < needle.n || at > text.n - needle.n)
        return -1;
    last = text.n - needle.n;
    first = needle.p[0];
    if (first == ' ') {
        for (; at <= last; at++)
            if (shape_at(text.p + at, needle))
                return (ssize_t)at;
        return -1;
    }
    /* Most texts hold few of either letter: memchr passes over the rest many bytes at a time. */
    small = next_of(text, at, first);
    big = first >= 'a' && first <= 'z' ? next_of(text, at, first - 32) : text.n;
    while ((at = MIN(small, big)) <= last) {
        if (shape_at(text.p + at, needle))
            return (ssize_t)at;
        if (at == small)
            small = next_of(text, at + 1, first);
        else
            big = next_of(text, at + 1, first - 32);
    }
    return -1;
}
