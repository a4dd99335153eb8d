/*
 * tests/unit/courier_ring.h - a keyring that says what a test wants, and an index of keys.
 */
#ifndef GAPURA_COURIER_RING_H
#define GAPURA_COURIER_RING_H

#include "core/wire.h"
#include "courier_tests.h"
#include "store/keys.h"

static struct {
    struct chan *ours, *end; /* the courier's end, the keyring's */
    unsigned asked, items;
    uint64_t ids[16];
    bool silent, any_domain, any_tenant;
    uint8_t says;    /* enum sign_status */
    const char *odd; /* of this key it says */
    uint8_t odd_says;
    bool is_odd[SIGN_MAX];
} ring;

static inline void
ring_answer(uint64_t id, unsigned n, uint8_t says)
{
    static const char signature[64] = "signed";
    struct buf b;

    buf_init(&b, 1000);
    put_u16(&b, (uint16_t)n);
    for (unsigned i = 0; i < n; i++) {
        uint8_t word = ring.is_odd[i] ? ring.odd_says : says;

        put_u8(&b, word);
        put_str(&b, word == SIGN_DONE ? str_of(signature, sizeof signature) : STR_NONE);
    }
    chan_send(ring.end, ASK_SIGN_ANSWER, id, &b, -1);
    buf_done(&b);
}

static inline void
ring_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx;
    (void)fd;
    IS(type, ASK_SIGN, "a question");
    IS(wire_u32(body), ring.any_tenant ? 0 : 1, "of the tenant");
    ring.items = wire_u16(body);
    for (unsigned i = 0; i < ring.items; i++) {
        struct str domain = wire_str(body), selector = wire_str(body), digest = wire_str(body);

        if (!ring.any_domain)
            TEXT(domain, "test.example", "for its domain");
        ring.is_odd[i] = ring.odd && str_eq(selector, str_c(ring.odd));
        OK(selector.n == 2 && digest.n == 32, "with a key and a digest");
    }
    OK(wire_end(body), "whole");
    ring.ids[ring.asked++ % ARRAY_LEN(ring.ids)] = id;
    if (!ring.silent)
        ring_answer(id, ring.items, ring.says);
}

static inline void
ours_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx;
    fd_close(&fd);
    OK(courier_message(rig.courier, ring.ours, type, id, body), "the courier's");
}

static inline void
ours_closed(void *ctx)
{
    (void)ctx;
    courier_keyring_lost(rig.courier);
}

static const struct chan_ops ring_ops = {ring_message, chan_gone};

static inline void
ring_open(void)
{
    static const struct chan_ops ours = {ours_message, ours_closed};
    int pair[2];

    OK(chan_pair(pair) == 0, "a channel");
    ring.end = chan_create(rig.loop, pair[1], &ring_ops, NULL);
    if (ring.ours)
        chan_renew(ring.ours, pair[0]);
    else
        ring.ours = chan_create(rig.loop, pair[0], &ours, NULL);
    rig.courier->links.keyring = ring.ours;
}

static inline void
put_key(struct buf *b, const char *selector, uint8_t alg, uint32_t tenant, uint8_t state)
{
    put_str16(b, str_c(selector));
    put_u32(b, tenant);
    put_u8(b, alg);
    put_u8(b, state);
    put_u8(b, KEYS_PUBLISHED);
}

/* The index: test.example with both kinds, and keys that must not be used. */
static inline void
keys_set(bool both)
{
    struct snapshot_builder *to = snapshot_build(1);
    struct buf b;

    buf_init(&b, 1000);
    put_key(&b, "w1", KEYS_RSA, 1, KEYS_WAITING);
    put_key(&b, "x1", KEYS_RSA, 2, KEYS_ACTIVE);
    put_key(&b, "r1", KEYS_RSA, 1, KEYS_ACTIVE);
    if (both)
        put_key(&b, "e1", KEYS_ED25519, 1, KEYS_ACTIVE);
    put_key(&b, "o1", KEYS_ED25519, 1, KEYS_RETIRING);
    snapshot_add(to, SNAPSHOT_SIGN, STR("test.example"), buf_view(&b));
    buf_clear(&b);
    put_key(&b, "z1", KEYS_RSA, 1, KEYS_ACTIVE);
    snapshot_add(to, SNAPSHOT_SIGN, STR("other.example"), buf_view(&b));
    buf_clear(&b);
    put_key(&b, "p1", KEYS_RSA, 0, KEYS_ACTIVE);
    snapshot_add(to, SNAPSHOT_SIGN, STR("platform.example"), buf_view(&b));
    snapshot_add(to, SNAPSHOT_SIGN, STR("*"), STR_NONE);
    buf_done(&b);
    IS(courier_set_keys(rig.courier, snapshot_finish(to)), 0, "an index of keys");
}

static inline void
begin_with(const char *settings)
{
    own_clock();
    memset(&ring, 0, sizeof ring);
    rig_init(&rig, settings);
    ring_open();
}
static inline void
begin(void)
{
    begin_with(ROUTE SOON "}\n");
    keys_set(true);
}

/* Channels go before the loop does. */
static inline void
finish(void)
{
    courier_free(rig.courier);
    rig.courier = NULL;
    chan_free(ring.ours);
    chan_free(ring.end);
    rig_done(&rig);
}

static inline unsigned
signatures(void)
{
    unsigned n = 0;

    for (const char *p = rig.last_body; (p = strstr(p, "DKIM-Signature: ")) != NULL; p++)
        n++;
    return n;
}

#endif
