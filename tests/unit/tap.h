/*
 * tests/unit/tap.h - the test harness: TAP lines, a plan at the end, exit status 1 on a failure.
 *
 *     static void test_x(void) { IS(1 + 1, 2, "sums"); OK(true, "holds"); TEXT(s, "abc", "text"); }
 *     int main(void) { test_x(); return tap_done(); }
 */
#ifndef GAPURA_TAP_H
#define GAPURA_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_count_, tap_failed_, tap_skipped_;

__attribute__((format(printf, 4, 5), unused)) static bool
tap_ok_(bool good, const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    tap_count_++;
    printf("%sok %d - ", good ? "" : "not ", tap_count_);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    if (!good) {
        tap_failed_++;
        printf("#   at %s:%d\n", file, line);
    }
    fflush(stdout);
    return good;
}
#define OK(cond, ...) tap_ok_((cond), __FILE__, __LINE__, __VA_ARGS__)
#define IS(got, want, ...)                                                                         \
    do {                                                                                           \
        long long got_ = (long long)(got), want_ = (long long)(want);                              \
        if (!tap_ok_(got_ == want_, __FILE__, __LINE__, __VA_ARGS__))                              \
            printf("#   got %lld, wanted %lld\n", got_, want_);                                    \
    } while (0)
/* s: struct str (or anything with .p and .n); want: C string */
#define TEXT(s, want, ...)                                                                         \
    do {                                                                                           \
        const __typeof__(s) got__ = (s); /* evaluated once */                                      \
        const char *want__ = (want);                                                               \
        if (!tap_ok_(got__.n == strlen(want__) && (!got__.n || !memcmp(got__.p, want__, got__.n)), \
                     __FILE__, __LINE__, __VA_ARGS__))                                             \
            printf("#   got \"%.*s\"\n#   wanted \"%s\"\n", (int)got__.n, got__.p, want__);        \
    } while (0)

/* valgrind runs us: twenty times slower, with an allocator and a file limit of its own. */
__attribute__((unused)) static bool
tap_valgrind(void)
{
    return getenv("GAPURA_VALGRIND") != NULL;
}

__attribute__((unused)) static void
tap_skip(const char *what, const char *why)
{
    tap_count_++;
    tap_skipped_++;
    printf("ok %d - %s # SKIP %s\n", tap_count_, what, why);
}
__attribute__((unused)) static int
tap_done(void)
{
    printf("1..%d\n", tap_count_);
    return tap_failed_ ? 1 : 0;
}

#endif
