/*
 * gate/returned.c - tags of what we send, and the search for them in what comes back.
 *
 * Called by gate/front.c: a tag for each submitted message, and the body of strangers' mail with
 * the null sender. As gate/received.c writes them, "by HOST with ESMTP id ID" ends one line and
 * "(return TAG)" stands in the next. Never trusts a byte of either.
 */
#include "core/openssl.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

#include "gate/returned.h"

#define TRIES_MAX  16u /* digests made for one message */
#define HOUR_CHARS 4u  /* hours since 1970, modulo 2^20 */
#define HASH_CHARS 16u /* 80 bits */
#define HOURS      (1u << 20)

_Static_assert(HOUR_CHARS + HASH_CHARS + 1 == RETURNED_TAG, "a tag is hour and digest");

static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567"; /* RFC 4648 base32 */

/* ---- keys ---- */

void
returned_keys_done(struct returned_keys *k)
{
    while (k->n)
        EVP_MAC_CTX_free(k->mac[--k->n]);
}

void
returned_keys_set(struct returned_keys *k, const struct snapshot *snapshot)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    struct secret_set set;
    EVP_MAC *mac;

    returned_keys_done(k);
    if (!snapshot || !secret_find(snapshot, STR(SECRET_RETURNS), &set))
        return;
    mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    for (unsigned i = 0; mac && i < set.n; i++) {
        EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);

        if (ctx && EVP_MAC_init(ctx, set.items[i].bytes, SECRET_BYTES, params) == 1)
            k->mac[k->n++] = ctx;
        else
            EVP_MAC_CTX_free(ctx);
    }
    EVP_MAC_free(mac);
    secret_wipe(&set);
}

/* ---- tags ---- */

/* value's lowest bits in n letters of five each. */
static void
put_letters(uint64_t value, unsigned n, char *dst)
{
    for (unsigned i = 0; i < n; i++)
        dst[i] = letters[value >> (5 * (n - 1 - i)) & 31];
}

static bool
tag_make(EVP_MAC_CTX *mac, const struct spool_id *id, struct str sender, uint32_t hour,
         char dst[RETURNED_TAG])
{
    static const char purpose[] = "gapura return 1"; /* its NUL is part of it */
    unsigned char digest[32], head[sizeof(purpose) + 16 + 4];
    char folded[ADDRESS_MAX + 1];
    uint64_t bits = 0;
    size_t n = 0;

    if (!str_copy(sender, folded, sizeof(folded)))
        return false;
    str_lower(folded, sender.n);
    memcpy(head, purpose, sizeof(purpose));
    spool_id_bytes(id, head + sizeof(purpose));
    for (unsigned i = 0; i < 4; i++)
        head[sizeof(purpose) + 16 + i] = (unsigned char)(hour >> (24 - 8 * i));
    if (EVP_MAC_init(mac, NULL, 0, NULL) != 1 || EVP_MAC_update(mac, head, sizeof(head)) != 1 ||
        EVP_MAC_update(mac, (const unsigned char *)folded, sender.n) != 1 ||
        EVP_MAC_final(mac, digest, &n, sizeof(digest)) != 1 || n != sizeof(digest))
        return false;
    put_letters(hour, HOUR_CHARS, dst);
    for (unsigned half = 0; half < 2; half++) {
        for (unsigned i = 0; i < 5; i++)
            bits = bits << 8 | digest[5 * half + i];
        put_letters(bits, HASH_CHARS / 2, dst + HOUR_CHARS + half * (HASH_CHARS / 2));
    }
    dst[RETURNED_TAG - 1] = '\0';
    return true;
}

bool
returned_tag(const struct returned_keys *k, const struct spool_id *id, struct str sender,
             uint64_t now_s, char dst[RETURNED_TAG])
{
    return k->n && tag_make(k->mac[0], id, sender, (uint32_t)(now_s / 3600 % HOURS), dst);
}

/* The hour of a tag, or negative. */
static int
tag_hour(struct str tag)
{
    int hour = 0;

    for (unsigned i = 0; i < HOUR_CHARS; i++) {
        const char *at = tag.p[i] ? strchr(letters, tag.p[i]) : NULL;

        if (!at)
            return -1;
        hour = hour << 5 | (int)(at - letters);
    }
    return hour;
}

static bool
tag_ok(struct returned *r, struct str tag)
{
    char want[RETURNED_TAG];
    bool good = false;
    int hour;

    if (tag.n != RETURNED_TAG - 1 || r->tries >= TRIES_MAX)
        return false;
    hour = tag_hour(tag);
    /* Our other gates' clocks may be ahead of ours, by less than an hour. */
    if (hour < 0 || (r->now_s / 3600 + 1 + HOURS - (unsigned)hour) % HOURS > r->life_s / 3600 + 1)
        return false;
    r->tries++;
    for (unsigned i = 0; i < r->keys->n; i++)
        good |= tag_make(r->keys->mac[i], &r->id, str_of(r->to, r->nto), (uint32_t)hour, want) &&
                CRYPTO_memcmp(tag.p, want, RETURNED_TAG - 1) == 0;
    return good;
}

/* ---- what comes back ---- */

void
returned_begin(struct returned *r, const struct returned_keys *keys, struct str hostname,
               struct str to, uint64_t now_s, uint64_t life_s)
{
    r->keys = keys;
    r->hostname = hostname;
    r->now_s = now_s;
    r->life_s = life_s;
    r->found = r->skip = false;
    r->near = r->tries = 0;
    r->n = r->nto = 0;
    if (str_copy(to, r->to, sizeof(r->to)))
        r->nto = (uint16_t)to.n;
    else
        r->keys = NULL;
}

/* Our field's id, if the line has it. */
static bool
line_id(const struct returned *r, struct str line, struct spool_id *ret)
{
    ssize_t by = str_find(line, STR("by ")), at;
    struct str rest, word;

    if (by < 0)
        return false;
    rest = str_from(line, (size_t)by + 3);
    if (!str_istarts(rest, r->hostname) || (at = str_find(rest, STR(" id "))) < 0)
        return false;
    rest = str_from(rest, (size_t)at + 4);
    word = str_word(&rest);
    if (word.n >= SPOOL_ID_TEXT)
        word.n = SPOOL_ID_TEXT - 1; /* what follows: ";" */
    return spool_id_parse(word, ret) == 0;
}

static void
returned_line(struct returned *r, struct str line)
{
    ssize_t at;

    if (line_id(r, line, &r->id))
        r->near = 2;
    if (!r->near)
        return;
    r->near--;
    at = str_find(line, STR("(return "));
    if (at < 0)
        return;
    line = str_from(line, (size_t)at + 8);
    at = str_chr(line, ')');
    r->found = at > 0 && tag_ok(r, str_sub(line, 0, (size_t)at));
}

void
returned_feed(struct returned *r, const char *p, size_t n)
{
    while (n && r->keys && !r->found && r->tries < TRIES_MAX) {
        const char *nl = memchr(p, '\n', n);
        size_t take = nl ? (size_t)(nl - p) : n;

        if (r->n + take > sizeof(r->line))
            r->skip = true;
        else if (!r->skip)
            memcpy(r->line + r->n, p, take);
        r->n = r->skip ? 0 : (uint16_t)(r->n + take);
        if (nl) {
            if (!r->skip)
                returned_line(r, str_of(r->line, r->n));
            r->n = 0;
            r->skip = false;
            take++;
        }
        p += take;
        n -= take;
    }
}
