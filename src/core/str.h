/*
 * core/str.h - text is a pointer and a length; C strings live only at libc's edge.
 *
 * A struct str never owns its bytes. Parsers for numbers, sizes and durations are the only ones in
 * the house: no unit is parsed anywhere else.
 */
#ifndef GAPURA_CORE_STR_H
#define GAPURA_CORE_STR_H

#include "core/base.h"

struct str {
    const char *p;
    size_t n;
};

#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})
#define STR_NONE ((struct str){NULL, 0})
/* For printf's "%.*s". */
#define STR_ARG(s) (int)(s).n, (s).p

static inline struct str
str_of(const void *p, size_t n)
{
    return (struct str){p, n};
}
struct str str_c(const char *cstr); /* NULL gives an empty view */

bool str_eq(struct str a, struct str b);
bool str_ieq(struct str a, struct str b); /* ASCII case folded */
int str_cmp(struct str a, struct str b);  /* bytes, then length */
bool str_starts(struct str s, struct str prefix);
bool str_istarts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_iends(struct str s, struct str suffix);
ssize_t str_chr(struct str s, char c);  /* index or -1 */
ssize_t str_rchr(struct str s, char c); /* index or -1 */
ssize_t str_find(struct str s, struct str needle);
struct str str_trim(struct str s);                       /* space and tab off both ends */
struct str str_from(struct str s, size_t at);            /* clamped tail */
struct str str_sub(struct str s, size_t at, size_t len); /* clamped */
/* Splits at the first c: returns what stands before it and leaves the rest in *rest (empty if
 * none). */
struct str str_cut(struct str s, char c, struct str *rest);
/* Next word of *rest separated by spaces or tabs; empty when there is none. */
struct str str_word(struct str *rest);
bool str_is_ascii(struct str s); /* every byte in 1..127 */
bool str_is_utf8(struct str s);  /* well-formed, no surrogates, no overlong forms; ASCII included */
/* Bytes of the well-formed sequence that s begins with; 0 if there is none. */
size_t str_utf8_len(struct str s);
bool str_has_ctl(struct str s); /* a byte below 32 or 127 */
/* The code point of a whole UTF-8 sequence of n bytes that may not be shown raw, else 0: C1
 * controls, which terminals obey, line and paragraph separators, marks of direction. */
unsigned str_hidden(const char *p, size_t n);
/* A stranger's text made fit for a terminal, in place: what is a control, hidden as above or no
 * UTF-8 becomes '?', byte for byte. */
void str_defuse(char *p, size_t n);
void str_lower(char *p, size_t n);               /* ASCII, in place */
uint64_t str_hash(struct str s, uint64_t seed);  /* fast, keyed; for maps */
uint64_t str_ihash(struct str s, uint64_t seed); /* same of the ASCII-lowered text */
/* Copies into dst with a final NUL; false (and an empty dst) if it does not fit or holds a NUL. */
bool str_copy(struct str s, char *dst, size_t cap);
/* A C string of its own for free(), or NULL without memory. Never looks behind s (strndup may). */
char *str_dup(struct str s);

/* Whole text must match; *ret untouched on failure (ERR_SYNTAX or ERR_LIMIT on overflow). */
int str_u64(struct str s, uint64_t *ret);
int str_hex64(struct str s, uint64_t *ret);
/* "10 MB", "64KiB", "1g", "4096": bytes. KB and KiB are both 1024. */
int str_size(struct str s, uint64_t *ret);
/* "5m", "300 s", "250ms", "1h30m", "90": nanoseconds (a bare number is seconds). */
int str_duration(struct str s, uint64_t *ret_ns);
/* "100/s", "30/min", "5000/day", "10/5m": events and period in ns, neither of them 0. */
int str_rate(struct str s, uint64_t *ret_count, uint64_t *ret_period_ns);

/* "1.5", "-2", "0.05": hundredths; at most two decimals, no exponent, at most 7 digits before. */
int str_points(struct str s, int64_t *ret);

/* Writes like snprintf but clamps: returns bytes written without the NUL. */
size_t str_fmt(char *dst, size_t cap, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Human forms for people: "10.0 MB", "5m", "2d 3h". dst of 32 bytes is always enough. */
const char *str_show_size(uint64_t bytes, char dst[32]);
const char *str_show_duration(uint64_t ns, char dst[32]);

#endif
