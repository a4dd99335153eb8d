/*
 * tests/support/lib/cases.c - TAP lines and files for smtp_cases.
 */
#include <stdarg.h>

#include "cases.h"
#include "core/codec.h"

#define FILE_MAX (64u << 20)

static unsigned count, failed, skipped;

/* TAP gives # a meaning, and names come from files. */
static void
say(const char *fmt, va_list ap)
{
    char text[512];

    vsnprintf(text, sizeof(text), fmt, ap);
    for (char *p = text; *p; p++)
        if (*p == '#' || (unsigned char)*p < 32)
            *p = '?';
    fputs(text, stdout);
}

void
cases_ok(bool good, const char *fmt, ...)
{
    va_list ap;

    count++;
    failed += !good;
    printf("%sok %u - ", good ? "" : "not ", count);
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    printf("\n");
}

void
cases_skip(const char *reason, const char *fmt, ...)
{
    va_list ap;

    count++;
    skipped++;
    printf("ok %u - ", count);
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    printf(" # SKIP %s\n", reason);
}

void
cases_note(const char *fmt, ...)
{
    va_list ap;

    printf("#   ");
    va_start(ap, fmt);
    say(fmt, ap);
    va_end(ap);
    printf("\n");
}

int
cases_done(void)
{
    printf("1..%u\n", count);
    printf("# %u passed, %u failed, %u skipped\n", count - failed - skipped, failed, skipped);
    return failed ? 1 : 0;
}

bool
cases_read(const char *path, struct buf *ret)
{
    FILE *f = fopen(path, "rb");
    char piece[65536];
    size_t n;

    buf_init(ret, FILE_MAX);
    if (!f)
        return false;
    while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
        buf_add(ret, piece, n);
    fclose(f);
    return !ret->failed;
}

struct str
cases_text(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);

    return json_is_string(v) ? str_of(json_string_value(v), json_string_length(v)) : STR_NONE;
}

ssize_t
cases_hex(const json_t *object, const char *key, char *dst, size_t cap)
{
    return codec_unhex(cases_text(object, key), dst, cap);
}
