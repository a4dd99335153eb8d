/*
 * fuzz/fuzz_tnef.c - a winmail.dat from any bytes: ceilings held, every view within what was given,
 * and the same files as parts of a message.
 */
#include <stdlib.h>

#include "mail/mime.h"
#include "mail/tnef.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool
within(struct str view, struct str all)
{
    return !view.n || (view.p >= all.p && view.p + view.n <= all.p + all.n);
}

static void
on_begin(void *ctx, const struct mime_part *p)
{
    unsigned *files = ctx;

    *files += p->kind == MIME_TNEF && str_eq(p->disposition, STR("attachment"));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct tnef_limits limits = {.attributes = 500, .files = 20, .depth = 3};
    static const struct mime_sink sink = {.begin = on_begin};
    struct mime_limits mime_limits = mime_limits_default;
    struct str all = str_of(data, n);
    struct arena arena;
    struct buf rtf;
    struct mime *m;
    struct tnef t;
    unsigned files = 0, seen = 0;

    arena_init(&arena, 1u << 20);
    if (tnef_read(all, &limits, &arena, &t) == 0) {
        for (const struct tnef_file *f = t.files; f; f = f->next, files++) {
            ENSURE(f->number == files + 1 && f->parent <= files);
            ENSURE(within(f->data, all) && str_is_utf8(f->name) && str_is_utf8(f->other));
        }
        ENSURE(files == t.nfiles && files <= limits.files);
        ENSURE(within(t.text, all) && within(t.html, all) && within(t.rtf, all));
        buf_init(&rtf, 65536);
        if (t.rtf.p)
            tnef_rtf(t.rtf, &rtf);
        buf_done(&rtf);
    }
    buf_init(&rtf, 65536);
    tnef_rtf(all, &rtf);
    buf_done(&rtf);
    mime_limits.memory = 1u << 20;
    if (mime_create(&m, &mime_limits, &sink, &seen) == 0) {
        mime_feed(m, "Content-Type: application/ms-tnef\r\n\r\n", 37);
        mime_feed(m, (const char *)data, n);
        mime_end(m);
        ENSURE(seen >= files || !mime_is_whole(m));
        mime_free(m);
    }
    arena_done(&arena);
    return 0;
}
