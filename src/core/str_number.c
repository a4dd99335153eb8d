/*
 * core/str_number.c - numbers and units, read and shown: the only parsers of units in the house.
 *
 * Called by settings, command lines and protocol code. Never accepts a part of a text, a sign where
 * none is meant, or a value that does not fit.
 */
#include "core/err.h"
#include "core/str.h"

#define NS_S UINT64_C(1000000000)

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"", 1},
    {"b", 1},
    {"k", UINT64_C(1) << 10},
    {"kb", UINT64_C(1) << 10},
    {"kib", UINT64_C(1) << 10},
    {"m", UINT64_C(1) << 20},
    {"mb", UINT64_C(1) << 20},
    {"mib", UINT64_C(1) << 20},
    {"g", UINT64_C(1) << 30},
    {"gb", UINT64_C(1) << 30},
    {"gib", UINT64_C(1) << 30},
    {"t", UINT64_C(1) << 40},
    {"tb", UINT64_C(1) << 40},
    {"tib", UINT64_C(1) << 40},
    {"p", UINT64_C(1) << 50},
    {"pb", UINT64_C(1) << 50},
    {"pib", UINT64_C(1) << 50},
};

static const struct unit time_units[] = {
    {"ns", 1},
    {"us", 1000},
    {"ms", 1000000},
    {"s", NS_S},
    {"sec", NS_S},
    {"second", NS_S},
    {"seconds", NS_S},
    {"m", 60 * NS_S},
    {"min", 60 * NS_S},
    {"minute", 60 * NS_S},
    {"minutes", 60 * NS_S},
    {"h", 3600 * NS_S},
    {"hour", 3600 * NS_S},
    {"hours", 3600 * NS_S},
    {"d", 86400 * NS_S},
    {"day", 86400 * NS_S},
    {"days", 86400 * NS_S},
    {"w", 7 * 86400 * NS_S},
    {"week", 7 * 86400 * NS_S},
    {"weeks", 7 * 86400 * NS_S},
};

static inline bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int
str_u64(struct str s, uint64_t *ret)
{
    uint64_t v = 0;
    bool over = false;

    if (s.n == 0)
        return ERR_SYNTAX;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_digit(s.p[i]))
            return ERR_SYNTAX;
        over |= __builtin_mul_overflow(v, 10, &v);
        over |= __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v);
    }
    if (over)
        return ERR_LIMIT;
    *ret = v;
    return 0;
}

int
str_points(struct str s, int64_t *ret)
{
    bool minus = s.n && s.p[0] == '-';
    struct str fraction, whole = str_cut(str_from(s, minus), '.', &fraction);
    bool dot = str_chr(s, '.') >= 0;
    uint64_t v, part = 0;

    if (whole.n > 7 || fraction.n > 2 || (dot && !fraction.n))
        return ERR_SYNTAX;
    if (str_u64(whole, &v) < 0 || (fraction.n && str_u64(fraction, &part) < 0))
        return ERR_SYNTAX;
    v = v * 100 + (fraction.n == 1 ? part * 10 : part);
    *ret = minus ? -(int64_t)v : (int64_t)v;
    return 0;
}

int
str_hex64(struct str s, uint64_t *ret)
{
    uint64_t v = 0;
    bool over = false;

    if (s.n == 0)
        return ERR_SYNTAX;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        unsigned digit;

        if (is_digit(c))
            digit = (unsigned)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (unsigned)((c | 0x20) - 'a' + 10);
        else
            return ERR_SYNTAX;
        over |= v >> 60 != 0;
        v = v << 4 | digit;
    }
    if (over)
        return ERR_LIMIT;
    *ret = v;
    return 0;
}

static const struct unit *
unit_find(const struct unit *units, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_ieq(str_c(units[i].name), name))
            return &units[i];
    return NULL;
}

/* Takes "12 kb" off the front of *rest; *ret_unit is what stands between the number and the next
 * digit or blank. */
static int
take_amount(struct str *rest, uint64_t *ret_number, struct str *ret_unit)
{
    struct str s = str_trim(*rest);
    size_t digits = 0, end;
    int r;

    while (digits < s.n && is_digit(s.p[digits]))
        digits++;
    r = str_u64(str_of(s.p, digits), ret_number);
    if (r < 0)
        return r;
    s = str_trim(str_from(s, digits));
    for (end = 0; end < s.n && !is_digit(s.p[end]) && s.p[end] != ' ' && s.p[end] != '\t';)
        end++;
    *ret_unit = str_of(s.p, end);
    *rest = str_trim(str_from(s, end));
    return 0;
}

int
str_size(struct str s, uint64_t *ret)
{
    const struct unit *unit;
    struct str name;
    uint64_t number;
    int r = take_amount(&s, &number, &name);

    if (r < 0)
        return r;
    unit = unit_find(size_units, ARRAY_LEN(size_units), name);
    if (!unit || s.n)
        return ERR_SYNTAX;
    if (__builtin_mul_overflow(number, unit->factor, &number))
        return ERR_LIMIT;
    *ret = number;
    return 0;
}

/* Also sums of several: "1h30m", "2d 3h" (what str_show_duration writes). */
int
str_duration(struct str s, uint64_t *ret_ns)
{
    uint64_t sum = 0, number, seconds;
    bool over = false;

    if (str_u64(str_trim(s), &seconds) == 0) {
        if (__builtin_mul_overflow(seconds, NS_S, &sum))
            return ERR_LIMIT;
        *ret_ns = sum;
        return 0;
    }
    do {
        const struct unit *unit;
        struct str name;
        int r = take_amount(&s, &number, &name);

        if (r < 0)
            return r;
        unit = unit_find(time_units, ARRAY_LEN(time_units), name);
        if (!unit)
            return ERR_SYNTAX;
        over |= __builtin_mul_overflow(number, unit->factor, &number);
        over |= __builtin_add_overflow(sum, number, &sum);
    } while (s.n);
    if (over)
        return ERR_LIMIT;
    *ret_ns = sum;
    return 0;
}

int
str_rate(struct str s, uint64_t *ret_count, uint64_t *ret_period_ns)
{
    const struct unit *unit;
    struct str period;
    uint64_t count, ns;
    int r;

    r = str_u64(str_trim(str_cut(s, '/', &period)), &count);
    if (r < 0)
        return r;
    period = str_trim(period);
    unit = unit_find(time_units, ARRAY_LEN(time_units), period);
    if (unit) {
        ns = unit->factor;
    } else {
        r = str_duration(period, &ns);
        if (r < 0)
            return r;
    }
    if (count == 0 || ns == 0)
        return ERR_SYNTAX; /* "no limit" and "nothing" must not look alike */
    *ret_count = count;
    *ret_period_ns = ns;
    return 0;
}

const char *
str_show_size(uint64_t bytes, char dst[32])
{
    static const char letters[] = "KMGTPE";
    unsigned shift = 0, letter = 0;
    uint64_t whole, tenth;

    while (shift < 60 && bytes >> shift >= 1024)
        shift += 10;
    if (shift == 0) {
        str_fmt(dst, 32, "%u B", (unsigned)bytes);
        return dst;
    }
    letter = shift / 10 - 1;
    whole = bytes >> shift;
    tenth = (bytes & ((UINT64_C(1) << shift) - 1)) * 10 >> shift; /* 10 * 2^60 fits 64 bits */
    str_fmt(dst, 32, "%u.%u %cB", (unsigned)whole, (unsigned)tenth, letters[letter]);
    return dst;
}

const char *
str_show_duration(uint64_t ns, char dst[32])
{
    static const struct unit shown[] = {
        {"d", 86400 * NS_S}, {"h", 3600 * NS_S}, {"m", 60 * NS_S}, {"s", NS_S},
        {"ms", 1000000},     {"us", 1000},       {"ns", 1},
    };
    size_t i = 0, n;
    uint64_t second;

    if (ns == 0) {
        str_fmt(dst, 32, "0s");
        return dst;
    }
    while (ns < shown[i].factor)
        i++;
    n = str_fmt(dst, 32, "%llu%s", (unsigned long long)(ns / shown[i].factor), shown[i].name);
    if (i + 1 < ARRAY_LEN(shown)) {
        second = ns % shown[i].factor / shown[i + 1].factor;
        if (second)
            str_fmt(dst + n, 32 - n, " %llu%s", (unsigned long long)second, shown[i + 1].name);
    }
    return dst;
}
