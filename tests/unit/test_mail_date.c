/*
 * tests/unit/test_mail_date.c - dates out, dates in, and what is no date.
 */
#include "mail/date.h"

#include "core/err.h"
#include "tap.h"

static const struct {
    uint64_t at;
    const char *text;
} shown[] = {
    {0, "Thu, 01 Jan 1970 00:00:00 +0000"},
    {951782400, "Tue, 29 Feb 2000 00:00:00 +0000"},
    {1795416264, "Mon, 23 Nov 2026 06:44:24 +0000"},
    {4102444799, "Thu, 31 Dec 2099 23:59:59 +0000"},
    {4107542400, "Mon, 01 Mar 2100 00:00:00 +0000"},
    {UINT64_MAX, "Fri, 31 Dec 9999 23:59:59 +0000"},
};

static const struct {
    const char *text;
    int64_t want; /* or negative */
} rows[] = {
    {"Mon, 23 Nov 2026 06:44:24 +0000", 1795416264},
    {"23 Nov 2026 06:44:24 +0000", 1795416264},
    {"Mon, 23 Nov 2026 07:44:24 +0100", 1795416264},
    {"Mon, 23 Nov 2026 01:14:24 -0530", 1795416264},
    {"mon, 23 nov 26 06:44:24 gmt", 1795416264},
    {"Mon, 23 Nov 2026 01:44:24 EST", 1795416264},
    {"Mon, 23 Nov 2026 06:44:24 Z", 1795416264},
    {"Mon, 23 Nov 2026 06:44:24", 1795416264},
    {"Mon, 23 Nov 2026 06:44 +0000", 1795416240},
    {"Mon,\r\n 23 Nov 2026 06:44:24 +0000 (UTC (nested))", 1795416264},
    {"Mon (x), 23 (y) Nov 2026 06 : 44 : 24 +0000", 1795416264},
    {"Monday, 23-Nov-2026 06:44:24 +0000", 1795416264},
    {"Sun, 31 Dec 1999 23:59:60 +0000", 946684799},
    {"1 Jan 99 00:00:00 +0000", 915148800},
    {"1 Jan 099 00:00:00 +0000", 915148800},
    {"29 Feb 2000 00:00:00 +0000", 951782400},
    {"29 Feb 2100 00:00:00 +0000", ERR_SYNTAX},
    {"29 Feb 1900 00:00:00 +0000", ERR_SYNTAX},
    {"31 Apr 2026 00:00:00 +0000", ERR_SYNTAX},
    {"0 Jan 2026 00:00:00 +0000", ERR_SYNTAX},
    {"1 Jan 1960 00:00:00 +0000", ERR_SYNTAX},
    {"1 Jan 2026 24:00:00 +0000", ERR_SYNTAX},
    {"1 Jan 2026 00:60:00 +0000", ERR_SYNTAX},
    {"1 Jan 2026 00:00:61 +0000", ERR_SYNTAX},
    {"1 Jan 2026 00:00:00 +00", ERR_SYNTAX},
    {"1 Jan 2026 00:00:00 +0060", ERR_SYNTAX},
    {"1 Jan 2026 00:00:00 +0000 x", ERR_SYNTAX},
    {"1 Foo 2026 00:00:00 +0000", ERR_SYNTAX},
    {"1 Jan 20266 00:00:00 +0000", ERR_SYNTAX},
    {"Foo, 1 Jan 2026 00:00:00 +0000", ERR_SYNTAX},
    {"1 Jan 2026 00:00:00 (never ends", ERR_SYNTAX},
    {"", ERR_SYNTAX},
    {"(", ERR_SYNTAX},
    {"Mon", ERR_SYNTAX},
};

int
main(void)
{
    char text[40];
    uint64_t at;
    bool good = true;

    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        date_show(shown[i].at, text);
        TEXT(str_c(text), shown[i].text, "shown %zu", i);
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int err = date_parse(str_c(rows[i].text), &at);

        IS(err ? err : (int64_t)at, rows[i].want, "read \"%s\"", rows[i].text);
    }
    for (uint64_t s = 0; s < UINT64_C(8000000000) && good; s += 86399 * 37) {
        date_show(s, text);
        good = !date_parse(str_c(text), &at) && at == s;
    }
    OK(good, "what is shown is read back");
    return tap_done();
}
