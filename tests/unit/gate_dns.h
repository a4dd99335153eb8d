/*
 * tests/unit/gate_dns.h - a resolver for the gate rig that answers out of a zone, and mail that is
 * signed here.
 */
#ifndef GAPURA_GATE_DNS_H
#define GAPURA_GATE_DNS_H

#include "auth/dkim_crypto.h"
#include "auth/dkim_sign.h"
#include "auth/zone.h"
#include "gate_rig.h"

/* The key of RFC 8463 A.2. */
#define DNS_KEY_PRIVATE "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
#define DNS_KEY_RECORD  "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

static struct {
    struct chan *ours, *resolver;
    struct zone *zone;
    unsigned asked;
} dns;

static void
dns_asked(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    enum dns_type wanted = (enum dns_type)wire_u16(body);
    struct buf b;

    (void)ctx;
    (void)type;
    fd_close(&fd);
    dns.asked++;
    buf_init(&b, 1u << 16);
    dns_answer_encode(&b, zone_lookup(dns.zone, wire_str16(body), wanted));
    chan_send(dns.resolver, DNS_MSG_ANSWER, id, &b, -1);
    buf_done(&b);
}

static void
dns_told(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx;
    fd_close(&fd);
    dns_client_message(rig.dns, type, id, body);
}

static void
dns_nothing(void *ctx)
{
    (void)ctx;
}

/* Before rig_start(). */
static bool
dns_start(const char *zone)
{
    static const struct chan_ops ours = {.message = dns_told, .closed = dns_nothing};
    static const struct chan_ops resolver = {.message = dns_asked, .closed = dns_nothing};
    struct why why = {""};
    int fds[2];

    rig.loop = loop_create();
    chan_pair(fds);
    dns.ours = chan_create(rig.loop, fds[0], &ours, NULL);
    dns.resolver = chan_create(rig.loop, fds[1], &resolver, NULL);
    dns.zone = zone_create(1u << 20);
    rig.dns = dns_client_create(rig.loop, dns.ours, 1000);
    return OK(rig.dns && zone_read(dns.zone, str_c(zone), &why) == 0, "a zone %s", why.text);
}

/* In place of rig_end(). */
static void
dns_end(void)
{
    dns_client_free(rig.dns);
    rig.dns = NULL;
    chan_free(dns.ours);
    chan_free(dns.resolver);
    zone_free(dns.zone);
    memset(&dns, 0, sizeof(dns));
    rig_end();
}

/* A DKIM-Signature of domain, selector "ed", for that message; `also`: one more name to sign. */
__attribute__((unused)) static void
dns_sign(struct buf *out, const char *domain, struct str text, const char *also)
{
    struct dkim_message *m = dkim_message_create();
    size_t split = (size_t)str_find(text, STR("\r\n\r\n")) + 4;
    struct str extra = str_c(also ? also : ""), why;
    struct dkim_private *key = NULL;
    struct dkim_sign_params params = {.domain = str_c(domain),
                                      .selector = STR("ed"),
                                      .alg = DKIM_ED25519_SHA256,
                                      .header_canon = DKIM_RELAXED,
                                      .body_canon = DKIM_RELAXED,
                                      .now = clock_wall_s(),
                                      .extra = &extra,
                                      .nextra = extra.n > 0};
    struct why said = {""};

    dkim_private_load(STR(DNS_KEY_PRIVATE), &key, &why);
    dkim_message_headers(m, str_sub(text, 0, split), &dkim_limits_default);
    dkim_sign_prepare(m, DKIM_RELAXED);
    dkim_message_body(m, text.p + split, text.n - split);
    dkim_message_end(m);
    OK(dkim_sign(m, &params, dkim_private_sign, key, out, &said) == 0, "signed %s", said.text);
    dkim_private_free(key);
    dkim_message_free(m);
}

#endif
