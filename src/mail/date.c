/*
 * mail/date.c - dates of mail (RFC 5322 3.3 and 4.3), written in UTC and read in all their forms.
 *
 * Called by header writers and by everything that reads a Date or Received field. Pure: civil
 * dates are computed here, no libc calendar, no locale.
 */
#include "mail/date.h"

#include "core/err.h"

static const char date_months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char date_days[] = "SunMonTueWedThuFriSat";

/* Days since 1970-01-01 of a civil date, proleptic Gregorian (after Hinnant's days_from_civil). */
static int64_t
date_days_of(int64_t year, unsigned month, unsigned day)
{
    int64_t y = year - (month <= 2), era = y / 400;
    unsigned yoe = (unsigned)(y - era * 400);
    unsigned doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + (int64_t)(yoe * 365 + yoe / 4 - yoe / 100 + doy) - 719468;
}

void
date_show(uint64_t wall_s, char dst[40])
{
    uint64_t days, rest, era;
    unsigned doe, yoe, doy, mp, day, month, year;

    if (wall_s > UINT64_C(253402300799)) /* 9999-12-31T23:59:59 */
        wall_s = UINT64_C(253402300799);
    days = wall_s / 86400;
    rest = wall_s % 86400;
    era = (days + 719468) / 146097;
    doe = (unsigned)((days + 719468) % 146097);
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;
    day = doy - (153 * mp + 2) / 5 + 1;
    month = mp < 10 ? mp + 3 : mp - 9;
    year = yoe + (unsigned)era * 400 + (month <= 2);
    str_fmt(dst, 40, "%.3s, %02u %.3s %04u %02u:%02u:%02u +0000", date_days + 3 * ((days + 4) % 7),
            day, date_months + (size_t)3 * (month - 1), year, (unsigned)(rest / 3600),
            (unsigned)(rest / 60 % 60), (unsigned)(rest % 60));
}

/* --- reading --- */

/* Passes white space (folded too) and comments, nested and bounded. False: a comment never ends. */
static bool
date_blank(struct str *s)
{
    unsigned depth = 0;

    while (s->n) {
        char c = s->p[0];

        if (c == '(') {
            if (++depth > 20)
                return false;
        } else if (c == ')' && depth) {
            depth--;
        } else if (c == '\\' && depth && s->n > 1) {
            *s = str_from(*s, 1);
        } else if (!depth && c != ' ' && c != '\t' && c != '\r' && c != '\n') {
            return true;
        }
        *s = str_from(*s, 1);
    }
    return !depth;
}

/* Number of min..max digits; false if there is none. */
static bool
date_number(struct str *s, size_t min, size_t max, unsigned *ret, size_t *ret_digits)
{
    unsigned v = 0;
    size_t n = 0;

    if (!date_blank(s))
        return false;
    while (n < s->n && n < max && s->p[n] >= '0' && s->p[n] <= '9')
        v = v * 10 + (unsigned)(s->p[n++] - '0');
    if (n < min || (n < s->n && s->p[n] >= '0' && s->p[n] <= '9'))
        return false;
    *ret = v;
    if (ret_digits)
        *ret_digits = n;
    *s = str_from(*s, n);
    return true;
}

static struct str
date_word(struct str *s)
{
    size_t n = 0;
    struct str word;

    if (!date_blank(s))
        return STR_NONE;
    while (n < s->n && ((s->p[n] >= 'A' && s->p[n] <= 'Z') || (s->p[n] >= 'a' && s->p[n] <= 'z')))
        n++;
    word = str_sub(*s, 0, n);
    *s = str_from(*s, n);
    return word;
}

static bool
date_char(struct str *s, char c)
{
    if (!date_blank(s) || !s->n || s->p[0] != c)
        return false;
    *s = str_from(*s, 1);
    return true;
}

/* Index of a three-letter name in a packed list, or -1. */
static int
date_name(const char *list, struct str word)
{
    for (int i = 0; list[(size_t)3 * (size_t)i]; i++)
        if (str_ieq(word, str_of(list + (size_t)3 * (size_t)i, 3)))
            return i;
    return -1;
}

/* Obsolete zone names (RFC 5322 4.3): minutes east. Unknown and military ones mean nothing: 0. */
static int
date_zone_name(struct str word)
{
    static const struct {
        const char *name;
        int minutes;
    } zones[] = {{"EST", -300}, {"EDT", -240}, {"CST", -360}, {"CDT", -300},
                 {"MST", -420}, {"MDT", -360}, {"PST", -480}, {"PDT", -420}};

    for (size_t i = 0; i < ARRAY_LEN(zones); i++)
        if (str_ieq(word, str_c(zones[i].name)))
            return zones[i].minutes;
    return 0;
}

static bool
date_zone(struct str *s, int *ret_minutes)
{
    unsigned v;
    char sign;

    if (!date_blank(s))
        return false;
    *ret_minutes = 0;
    if (!s->n)
        return true; /* left out by some: UTC */
    sign = s->p[0];
    if (sign != '+' && sign != '-') {
        struct str word = date_word(s);

        *ret_minutes = date_zone_name(word);
        return word.n > 0;
    }
    *s = str_from(*s, 1);
    if (!date_number(s, 4, 4, &v, NULL) || v % 100 > 59)
        return false;
    *ret_minutes = (int)(v / 100 * 60 + v % 100) * (sign == '-' ? -1 : 1);
    return true;
}

static bool
date_year(struct str *s, unsigned *ret)
{
    size_t digits;

    if (!date_number(s, 2, 4, ret, &digits))
        return false;
    if (digits == 2)
        *ret += *ret < 50 ? 2000 : 1900;
    else if (digits == 3)
        *ret += 1900;
    return *ret >= 1900;
}

static bool
date_time(struct str *s, unsigned *ret_seconds)
{
    unsigned h, m, sec = 0;

    if (!date_number(s, 1, 2, &h, NULL) || !date_char(s, ':') || !date_number(s, 1, 2, &m, NULL))
        return false;
    if (date_char(s, ':') && !date_number(s, 1, 2, &sec, NULL))
        return false;
    if (h > 23 || m > 59 || sec > 60)
        return false;
    *ret_seconds = h * 3600 + m * 60 + MIN(sec, 59U); /* a leap second is the one before */
    return true;
}

static bool
date_day_ok(unsigned year, unsigned month, unsigned day)
{
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return day >= 1 && day <= lengths[month - 1] + (unsigned)(month == 2 && leap);
}

int
date_parse(struct str text, uint64_t *ret_wall_s)
{
    struct str s = text, word;
    unsigned day, year, seconds;
    int month, zone;
    int64_t at;

    if (text.n > 1000)
        return ERR_SYNTAX;
    word = date_word(&s);
    if (word.n) { /* day name, whatever it says */
        if (date_name(date_days, str_sub(word, 0, 3)) < 0)
            return ERR_SYNTAX;
        date_char(&s, ',');
    }
    if (!date_number(&s, 1, 2, &day, NULL))
        return ERR_SYNTAX;
    date_char(&s, '-'); /* "23-Nov-2026" is seen in the wild */
    month = date_name(date_months, str_sub(date_word(&s), 0, 3)) + 1;
    date_char(&s, '-');
    if (month < 1 || !date_year(&s, &year) || !date_day_ok(year, (unsigned)month, day))
        return ERR_SYNTAX;
    if (!date_time(&s, &seconds) || !date_zone(&s, &zone) || !date_blank(&s) || s.n)
        return ERR_SYNTAX;
    at = date_days_of(year, (unsigned)month, day) * 86400 + (int64_t)seconds - zone * 60;
    if (at < 0)
        return ERR_SYNTAX;
    *ret_wall_s = (uint64_t)at;
    return 0;
}
