/*
 * fuzz/fuzz_arf.c - the fields of feedback reports from any bytes; what was read is written and
 * must be read again as the same.
 */
#include <stdlib.h>

#include "mail/arf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The fields within a report that we wrote: behind the second part's blank line. */
static struct str
fields_of(struct str message)
{
    ssize_t at = str_find(message, STR("message/feedback-report\r\n\r\n"));

    return at < 0 ? STR_NONE : str_from(message, (size_t)at + 27);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arf_message m = {.from = STR("a@b.test"), .to = STR("c@d.test"), .now = 1700000000};
    struct arena arena, again;
    struct arf a, b;
    struct buf out;

    arena_init(&arena, 1u << 20);
    arena_init(&again, 1u << 20);
    buf_init(&out, 4u << 20);
    if (arf_parse(&a, str_of(data, n), &arena) > 0) {
        ENSURE(a.rcpts.n <= ARF_LIST_MAX && a.domains.n <= ARF_LIST_MAX);
        m.report = &a;
        arf_write(&out, &m);
        if (!out.failed && arf_parse(&b, fields_of(buf_view(&out)), &again) > 0) {
            ENSURE(b.rcpts.n <= a.rcpts.n && b.domains.n <= a.domains.n);
            ENSURE(a.has_source == b.has_source && b.type.n && b.whole);
            ENSURE(!a.has_source || addr_eq(&a.source, &b.source));
        }
    }
    buf_done(&out);
    arena_done(&again);
    arena_done(&arena);
    return 0;
}
