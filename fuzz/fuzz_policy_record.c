/*
 * fuzz/fuzz_policy_record.c - decision records from any bytes: what is read is encoded to the same
 * bytes, its sums are those of its lines, and text and JSON can be made of it.
 */
#include "policy/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
check_sums(const struct record *r)
{
    for (unsigned i = 0; i < r->nverdicts; i++) {
        const struct record_verdict *v = &r->verdicts[i];
        int64_t acts = 0, all = 0;

        for (unsigned k = 0; k < v->nlines; k++) {
            all += v->lines[k].weight;
            acts += v->lines[k].observed ? 0 : v->lines[k].weight;
        }
        ENSURE(acts == v->total && all == v->would_total);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena arena;
    struct record r;
    CLEANUP(buf_done) struct buf bytes, text;

    buf_init(&bytes, 2 * RECORD_MAX);
    buf_init(&text, 64u << 20);
    arena_init(&arena, 16u << 20);
    if (record_decode(&r, &arena, str_of(data, n)) == 0) {
        check_sums(&r);
        record_encode(&bytes, &r);
        ENSURE(!bytes.failed && str_eq(buf_view(&bytes), str_of(data, n)));
        record_text(&text, &r, "\n");
        for (unsigned i = 0; i < r.nverdicts; i++)
            record_json(&text, &r, &r.verdicts[i]);
        record_spf_json(&text, r.spf, r.nspf);
        ENSURE(!text.failed);
    }
    arena_done(&arena);
    return 0;
}
