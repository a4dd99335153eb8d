/*
 * fuzz/fuzz_param.c - the values of MIME's header fields and their text: parameters, encoded words,
 * transfer encodings and charsets from any bytes. The first byte chooses encoding and step.
 */
#include <stdlib.h>

#include "mail/charset.h"
#include "mail/date.h"
#include "mail/param.h"
#include "mail/transfer.h"
#include "mail/word.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static uint64_t
decode(enum transfer_kind kind, struct str s, size_t step, uint32_t *odd)
{
    char out[2 * 64 + 512];
    uint64_t digest = 14695981039346656037u;
    struct transfer t;

    transfer_init(&t, kind);
    for (size_t at = 0; at <= s.n; at += step) {
        size_t take = MIN(step, s.n - at);
        ENSURE(transfer_room(take) <= sizeof(out));
        size_t n = at < s.n ? transfer_feed(&t, s.p + at, take, out) : 0;
        ENSURE(n <= transfer_room(take));
        for (size_t i = 0; i < n; i++)
            digest = (digest ^ (unsigned char)out[i]) * 1099511628211u;
    }
    size_t n = transfer_end(&t, out);
    ENSURE(n <= transfer_room(0));
    for (size_t i = 0; i < n; i++)
        digest = (digest ^ (unsigned char)out[i]) * 1099511628211u;
    *odd = t.odd;
    return digest;
}

static void
values(struct str s)
{
    struct arena arena;
    struct params params;
    struct buf out;
    uint64_t when;

    arena_init(&arena, 256u << 10);
    if (params_read(&params, s, &arena) == 0) {
        ENSURE(params.n <= PARAMS_MAX);
        for (unsigned i = 0; i < params.n; i++) {
            bool raw = str_eq(params.items[i].name, STR("boundary"));
            ENSURE(raw || str_is_utf8(params.items[i].value));
            ENSURE(raw || str_is_utf8(params.items[i].other));
            ENSURE(params_get(&params, params.items[i].name));
        }
    }
    buf_init(&out, 256u << 10);
    word_decode(s, &out);
    ENSURE(str_is_utf8(buf_view(&out)));
    word_present(s);
    buf_done(&out);
    date_parse(s, &when);
    arena_done(&arena);
}

/* A charset's name, a zero, text of it. */
static void
charset(struct str s, size_t step)
{
    struct str text, name = str_cut(s, '\0', &text);
    struct charset c;
    struct buf whole, pieces;

    buf_init(&whole, 256u << 10);
    buf_init(&pieces, 256u << 10);
    charset_decode(name, text, &whole);
    charset_begin(&c, name);
    for (size_t at = 0; at < text.n; at += step)
        charset_feed(&c, text.p + at, MIN(step, text.n - at), &pieces);
    charset_end(&c, &pieces);
    ENSURE(str_is_utf8(buf_view(&whole)));
    ENSURE(str_eq(buf_view(&whole), buf_view(&pieces)));
    buf_done(&whole);
    buf_done(&pieces);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const enum transfer_kind kinds[] = {TRANSFER_BASE64, TRANSFER_QP, TRANSFER_UUENCODE};
    struct str s = n ? str_of(data + 1, n - 1) : STR("");
    enum transfer_kind kind = kinds[(n ? data[0] : 0u) % ARRAY_LEN(kinds)];
    size_t step = 1 + (n ? data[0] / 4u : 0u);
    uint32_t whole, pieces;

    ENSURE(decode(kind, s, 64, &whole) == decode(kind, s, step, &pieces) && whole == pieces);
    values(s);
    charset(s, step);
    return 0;
}
