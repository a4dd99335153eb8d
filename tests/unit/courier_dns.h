/*
 * tests/unit/courier_dns.h - a resolver for the rig that says what a test tells it to.
 */
#ifndef GAPURA_COURIER_DNS_H
#define GAPURA_COURIER_DNS_H

#include "courier_tests.h"

#define DNS_HELD 4096u

static struct {
    struct chan *ours, *resolver;
    struct dns_client *client;
    /* Fills status, records (room for 8) and ttl of the answer. */
    void (*fn)(struct dns_answer *);
    bool silent; /* questions are kept until dns_speak() */
    unsigned asked, nheld;
    struct {
        uint64_t id;
        enum dns_type type;
        char name[256];
    } held[DNS_HELD];
} dns;

static inline void
dns_reply(uint64_t id, enum dns_type type, struct str name)
{
    struct dns_record records[8] = {{0}};
    struct dns_answer a = {
        .name = name, .type = type, .status = DNS_NODATA, .ttl = 300, .records = records};
    struct buf b;

    dns.fn(&a);
    for (size_t i = 0; i < a.n; i++)
        records[i].type = type;
    buf_init(&b, 4096);
    dns_answer_encode(&b, &a);
    chan_send(dns.resolver, DNS_MSG_ANSWER, id, &b, -1);
    buf_done(&b);
}
static inline void
dns_asked(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    enum dns_type want = (enum dns_type)wire_u16(body);
    struct str name = wire_str16(body);

    (void)ctx;
    (void)type;
    fd_close(&fd);
    dns.asked++;
    if (!dns.silent) {
        dns_reply(id, want, name);
    } else if (dns.nheld < DNS_HELD) {
        dns.held[dns.nheld].id = id;
        dns.held[dns.nheld].type = want;
        str_copy(name, dns.held[dns.nheld++].name, sizeof dns.held[0].name);
    }
}
static inline void
dns_speak(void)
{
    dns.silent = false;
    for (unsigned i = 0; i < dns.nheld; i++)
        dns_reply(dns.held[i].id, dns.held[i].type, str_c(dns.held[i].name));
    dns.nheld = 0;
}
static inline void
dns_told(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx;
    fd_close(&fd);
    dns_client_message(dns.client, type, id, body);
}
static inline void
dns_start(unsigned cache, void (*fn)(struct dns_answer *))
{
    static const struct chan_ops ours = {.message = dns_told, .closed = chan_gone},
                                 resolver = {.message = dns_asked, .closed = chan_gone};
    int fds[2];

    OK(chan_pair(fds) == 0, "a channel");
    dns.fn = fn;
    dns.silent = false;
    dns.asked = dns.nheld = 0;
    dns.ours = chan_create(rig.loop, fds[0], &ours, NULL);
    dns.resolver = chan_create(rig.loop, fds[1], &resolver, NULL);
    dns.client = dns_client_create(rig.loop, dns.ours, cache);
    rig.courier->links.dns = dns.client;
}
static inline void
dns_end(void)
{
    courier_free(rig.courier);
    rig.courier = NULL;
    dns_client_free(dns.client);
    chan_free(dns.ours);
    chan_free(dns.resolver);
}
static inline void
dns_address(struct dns_answer *a, const char *text)
{
    a->status = DNS_OK;
    OK(addr_parse(str_c(text), &a->records[a->n++].addr) == 0, "%s is an address", text);
}
static inline void
dns_host(struct dns_answer *a, const char *name, uint16_t preference)
{
    a->status = DNS_OK;
    a->records[a->n].name = str_c(name);
    a->records[a->n++].preference = preference;
}
#endif
