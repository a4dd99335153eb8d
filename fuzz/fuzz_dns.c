/*
 * fuzz/fuzz_dns.c - DNS messages and resolver answers from any bytes. What a message gives must
 * survive the way over a channel unchanged.
 */
#include "net/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
fuzz_round(const struct dns_answer *a, struct arena *arena)
{
    struct buf b = {.max = CHAN_BODY_MAX};
    struct dns_answer back;
    struct wire w;

    dns_answer_encode(&b, a);
    ENSURE(!b.failed);
    wire_init(&w, b.p, b.n);
    ENSURE(dns_answer_decode(&w, arena, &back) == 0);
    ENSURE(back.n == a->n && back.status == a->status && back.ttl == a->ttl);
    buf_done(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const enum dns_type types[] = {DNS_A,   DNS_CNAME, DNS_PTR, DNS_MX,
                                          DNS_TXT, DNS_AAAA,  DNS_TLSA};
    struct dns_answer a;
    struct arena arena;
    struct wire w;

    arena_init(&arena, 1 << 20);
    if (n > 1) {
        enum dns_type type = types[data[0] % ARRAY_LEN(types)];

        if (dns_packet_parse(data + 1, n - 1, STR("a.example.test"), type, &arena, &a) == 0)
            fuzz_round(&a, &arena);
    }
    wire_init(&w, data, n);
    if (dns_answer_decode(&w, &arena, &a) == 0)
        fuzz_round(&a, &arena);
    else
        ENSURE(w.failed);
    arena_done(&arena);
    return 0;
}
