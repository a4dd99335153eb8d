/*
 * gate/srs.c - rewritten senders: made for forwarded mail, taken apart for its bounces.
 *
 * Called by gate/rcpt.c and gate/session_mail.c. Never keeps state: what is needed is in the
 * address, and the keyed digest makes sure that only addresses we made lead anywhere.
 */
#define ERR_STATE OPENSSL_ERR_STATE /* OpenSSL has a type of that name, we have a code */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#undef ERR_STATE

#include "gate/srs.h"
#include "mail/address.h"

#define HASH_CHARS      8u /* 40 bits in base32 */
#define TIME_CHARS      2u /* days modulo 1024 */
#define DAYS_CYCLE      1024u
#define SECONDS_PER_DAY 86400u

static const char srs_letters[] = "abcdefghijklmnopqrstuvwxyz234567"; /* RFC 4648 base32 */

void
srs_init(struct srs *s, struct str domain, struct str secret, uint32_t days)
{
    *s = (struct srs){.domain = domain, .days = MIN(MAX(days, 1u), DAYS_CYCLE / 2)};
    EVP_Digest(secret.p, secret.n, s->key, NULL, EVP_sha256(), NULL);
}

/* Digest of the case-folded parts, each with its length in front so that none can borrow. */
static bool
srs_hash(const struct srs *s, const struct str *parts, size_t n, char dst[HASH_CHARS])
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    char text[SRS_MAX + 128];
    unsigned mac_n = 0;
    size_t at = 0;
    uint64_t bits = 0;

    for (size_t i = 0; i < n; i++) {
        if (parts[i].n > SRS_MAX || at + parts[i].n + 8 > sizeof(text))
            return false;
        at += str_fmt(text + at, sizeof(text) - at, "%zu:", parts[i].n);
        memcpy(text + at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    str_lower(text, at);
    if (!HMAC(EVP_sha256(), s->key, sizeof(s->key), (const unsigned char *)text, at, mac, &mac_n))
        return false;
    for (unsigned i = 0; i < 5; i++)
        bits = bits << 8 | mac[i];
    for (unsigned i = 0; i < HASH_CHARS; i++)
        dst[i] = srs_letters[bits >> (5 * (HASH_CHARS - 1 - i)) & 31];
    return true;
}

/* Compares without telling by time how much of it was right. */
static bool
srs_hash_ok(const struct srs *s, struct str hash, const struct str *parts, size_t n)
{
    char want[HASH_CHARS], got[HASH_CHARS];

    if (hash.n != HASH_CHARS || !srs_hash(s, parts, n, want))
        return false;
    memcpy(got, hash.p, HASH_CHARS);
    str_lower(got, HASH_CHARS);
    return CRYPTO_memcmp(got, want, HASH_CHARS) == 0;
}

/* A local part without its quotes; what is escaped in it stays so. */
static struct str
srs_bare(struct str local)
{
    return local.n >= 2 && local.p[0] == '"' ? str_sub(local, 1, local.n - 2) : local;
}

bool
srs_is(struct str local)
{
    local = srs_bare(local);
    return local.n > 5 && (str_istarts(local, STR("SRS0")) || str_istarts(local, STR("SRS1"))) &&
           (local.p[4] == '=' || local.p[4] == '+' || local.p[4] == '-');
}

static bool
split_address(struct str address, struct str *ret_local, struct str *ret_domain)
{
    ssize_t at = str_rchr(address, '@');

    if (at <= 0 || (size_t)at + 1 >= address.n)
        return false;
    *ret_local = str_sub(address, 0, (size_t)at);
    *ret_domain = str_from(address, (size_t)at + 1);
    return true;
}

/* local@domain into dst, with quotes where the local part needs them (a sender "a b"@x, the hop
 * [192.0.2.1]). `n`: bytes that the local part in `local` would need. */
static ssize_t
srs_mailbox(const char *local, size_t n, struct str domain, char *dst, size_t cap)
{
    const char *quote = address_local_plain(str_of(local, MIN(n, SRS_MAX))) ? "" : "\"";

    if (n > SRS_MAX)
        return ERR_LIMIT;
    n = str_fmt(dst, cap, "%s%.*s%s@%.*s", quote, (int)n, local, quote, STR_ARG(domain));
    return n + 1 >= cap || n > SRS_MAX ? ERR_LIMIT : (ssize_t)n;
}

/* A domain or an address literal, to which mail could go. */
static bool
hop_ok(struct str hop)
{
    char mailbox[SRS_MAX + 1];
    struct address a;
    size_t n = str_fmt(mailbox, sizeof(mailbox), "x@%.*s", STR_ARG(hop));

    return n + 1 < sizeof(mailbox) &&
           address_parse(str_of(mailbox, n), ADDRESS_ALLOW_UTF8, &a) == 0;
}

/* What a sender that another forwarder rewrote says: its first hop, and what that one wants back.
 * False: it only looks like one. */
static bool
srs_hop(struct str local, struct str *hop, struct str *ret_rest)
{
    struct str rest = str_from(local, 4);

    if (local.p[3] == '1') { /* SRS1=HASH=hop==rest: the middle one drops out */
        rest = str_from(local, 5);
        str_cut(rest, '=', &rest);
        *hop = str_cut(rest, '=', &rest);
    }
    *ret_rest = rest;
    return hop_ok(*hop) && rest.n > 1 && memchr("=+-", rest.p[0], 3);
}

/* The first hop is kept, our digest goes over it and the rest. */
static ssize_t
srs_forward_again(const struct srs *s, struct str hop, struct str rest, char *dst, size_t cap)
{
    struct str parts[2] = {hop, rest};
    char hash[HASH_CHARS], room[SRS_MAX + 1];
    size_t n;

    if (!srs_hash(s, parts, 2, hash))
        return ERR_LIMIT;
    n = str_fmt(room, sizeof(room), "SRS1=%.*s=%.*s=%.*s", (int)HASH_CHARS, hash, STR_ARG(hop),
                STR_ARG(rest));
    return srs_mailbox(room, n, s->domain, dst, cap);
}

ssize_t
srs_forward(const struct srs *s, struct str sender, uint64_t now_s, char *dst, size_t cap)
{
    uint32_t day = (uint32_t)(now_s / SECONDS_PER_DAY % DAYS_CYCLE);
    char time[TIME_CHARS] = {srs_letters[day >> 5], srs_letters[day & 31]};
    struct str local, domain, hop, rest, parts[3];
    char hash[HASH_CHARS], room[SRS_MAX + 1];
    size_t n;

    if (!sender.n)
        return 0;
    if (!split_address(sender, &local, &domain))
        return ERR_SYNTAX;
    if (str_ieq(domain, s->domain) && srs_is(local))
        return str_copy(sender, dst, cap) ? (ssize_t)sender.n : ERR_LIMIT;
    local = srs_bare(local);
    hop = domain;
    if (srs_is(local) && srs_hop(local, &hop, &rest))
        return srs_forward_again(s, hop, rest, dst, cap);
    parts[0] = str_of(time, TIME_CHARS);
    parts[1] = domain;
    parts[2] = local;
    if (!srs_hash(s, parts, 3, hash))
        return ERR_LIMIT;
    n = str_fmt(room, sizeof(room), "SRS0=%.*s=%.*s=%.*s=%.*s", (int)HASH_CHARS, hash,
                (int)TIME_CHARS, time, STR_ARG(domain), STR_ARG(local));
    return srs_mailbox(room, n, s->domain, dst, cap);
}

static int
letter_value(char c)
{
    const char *at = c ? strchr(srs_letters, c | 32) : NULL;

    if (c >= '2' && c <= '7')
        return c - '2' + 26;
    return at ? (int)(at - srs_letters) : -1;
}

/* Days since the address was made, modulo the cycle; negative if it is no time stamp. */
static int
time_age(struct str time, uint64_t now_s)
{
    int a, b;

    if (time.n != TIME_CHARS)
        return ERR_SYNTAX;
    a = letter_value(time.p[0]);
    b = letter_value(time.p[1]);
    if (a < 0 || b < 0)
        return ERR_SYNTAX;
    return (int)((now_s / SECONDS_PER_DAY + DAYS_CYCLE - (unsigned)(a << 5 | b)) % DAYS_CYCLE);
}

static ssize_t
srs_reverse_first(const struct srs *s, struct str rest, uint64_t now_s, char *dst, size_t cap)
{
    struct str hash = str_cut(rest, '=', &rest), parts[3];
    int age;

    parts[0] = str_cut(rest, '=', &rest);
    parts[1] = str_cut(rest, '=', &rest);
    parts[2] = rest; /* none: of the sender ""@domain */
    if (!hash.n || !parts[1].n)
        return ERR_SYNTAX;
    age = time_age(parts[0], now_s);
    if (age < 0)
        return age;
    if (!srs_hash_ok(s, hash, parts, 3))
        return ERR_REFUSED;
    if (age == DAYS_CYCLE - 1) /* our other gates' clocks may be ahead of ours, over midnight */
        age = 0;
    if ((uint32_t)age > s->days)
        return ERR_STALE;
    return srs_mailbox(parts[2].p, parts[2].n, parts[1], dst, cap);
}

static ssize_t
srs_reverse_second(const struct srs *s, struct str rest, char *dst, size_t cap)
{
    struct str hash = str_cut(rest, '=', &rest), parts[2];
    char room[SRS_MAX + 1];

    parts[0] = str_cut(rest, '=', &rest);
    parts[1] = rest;
    if (!hash.n || !parts[0].n || parts[1].n < 2)
        return ERR_SYNTAX;
    if (!srs_hash_ok(s, hash, parts, 2))
        return ERR_REFUSED;
    return srs_mailbox(room, str_fmt(room, sizeof(room), "SRS0%.*s", STR_ARG(parts[1])), parts[0],
                       dst, cap);
}

ssize_t
srs_reverse(const struct srs *s, struct str local, uint64_t now_s, char *dst, size_t cap)
{
    struct str rest;

    if (!srs_is(local) || local.n > SRS_MAX || str_has_ctl(local))
        return ERR_SYNTAX;
    local = srs_bare(local);
    rest = str_from(local, 5);
    if (local.p[3] == '0')
        return srs_reverse_first(s, rest, now_s, dst, cap);
    return srs_reverse_second(s, rest, dst, cap);
}
