/*
 * fuzz/fuzz_report_wire.c - what a role with strangers' bytes may say to the keeper: any bytes are
 * read within their bounds; and a mail's header says who sent it without leaving it.
 */
#include <stdlib.h>

#include "scan/report.h"
#include "store/report_line.h"
#include "store/report_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define RECORDS 2000u

static void
check(struct str s, size_t max)
{
    ENSURE(s.n <= max && str_is_utf8(s));
}

static void
drop(json_t *row)
{
    char *text = json_dumps(row, JSON_COMPACT);

    ENSURE(row && text);
    free(text);
    json_decref(row);
}

static void
read_dmarc(struct wire *w, const struct report_head *h)
{
    struct report_record r;

    for (uint32_t i = 0; i < MIN(h->records, RECORDS) && report_wire_record(w, &r) == 0; i++) {
        check(r.header_from, REPORT_TEXT_MAX);
        check(r.details, REPORT_LIST_MAX);
        ENSURE(r.count <= REPORT_COUNT_MAX);
        drop(report_line_record(&r));
    }
}

static void
read_tls(struct wire *w, const struct report_head *h)
{
    struct report_policy_row p;
    struct report_failure_row f;

    for (uint32_t i = 0; i < MIN(h->records, RECORDS) && report_wire_policy(w, &p) == 0; i++) {
        check(p.mxs, REPORT_LIST_MAX);
        drop(report_line_policy(&p));
        for (uint32_t k = 0; k < MIN(p.failures, RECORDS) && report_wire_failure(w, &f) == 0; k++)
            drop(report_line_failure(&f));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str text = str_of(data, n);
    struct report_facts facts = {.mail = STR_NONE};
    struct report_head h;
    struct arena arena;
    struct wire w;

    if (report_wire_open(&w, text, &h) == 0) {
        check(h.org, REPORT_TEXT_MAX);
        check(h.errors, REPORT_LIST_MAX);
        drop(report_line_head(&h, n));
        if (h.kind == REPORT_KIND_TLS)
            read_tls(&w, &h);
        else
            read_dmarc(&w, &h);
    }
    arena_init(&arena, 4u << 20);
    scan_report_facts(text, STR("mx.test"), &arena, &facts);
    ENSURE((facts.proof.n == 0) == (facts.by.n == 0));
    arena_done(&arena);
    return 0;
}
