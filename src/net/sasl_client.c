/*
 * net/sasl_client.c - the client's half of SCRAM-SHA-256, PLAIN and LOGIN, best first.
 *
 * Called by the smtp client. With SCRAM the server must prove that it knows the password too;
 * PLAIN and LOGIN prove nothing and belong inside TLS, which the caller sees to.
 */
#include "core/openssl.h"

#include "core/codec.h"
#include "net/sasl_inner.h"

struct sasl_client;
struct sasl_client_row {
    const char *mech;
    enum sasl_result (*step)(struct sasl_client *c, struct str challenge, struct buf *out);
    bool shows; /* the password itself goes to the server */
};

struct sasl_client {
    const struct sasl_client_row *row;
    unsigned step; /* messages made so far */
    bool repeated; /* the first message was asked for again */
    char user[SASL_USER_MAX + 1];
    size_t user_n;
    char password[SASL_PASSWORD_MAX + 1];
    size_t password_n;
    char nonce[SASL_NONCE_TEXT];
    struct buf transcript; /* first-bare , server-first , final-without-proof */
    uint8_t server_key[SCRAM_HASH];
};

/* Old servers take no initial response and ask for it with an empty or chatty challenge. */
static bool
client_repeats(struct sasl_client *c)
{
    if (c->step != 1 || c->repeated)
        return false;
    c->repeated = true;
    return true;
}

static enum sasl_result
client_plain(struct sasl_client *c, struct str challenge, struct buf *out)
{
    (void)challenge;
    if (c->step && !client_repeats(c))
        return SASL_FAIL;
    c->step = 1;
    buf_char(out, '\0'); /* no authzid: act as who we are */
    buf_add(out, c->user, c->user_n);
    buf_char(out, '\0');
    buf_add(out, c->password, c->password_n);
    return SASL_OK;
}

static enum sasl_result
client_login(struct sasl_client *c, struct str challenge, struct buf *out)
{
    (void)challenge; /* "Username:" and "Password:" in any language */
    switch (c->step++) {
    case 0:
        return SASL_CHALLENGE; /* no initial response */
    case 1:
        buf_add(out, c->user, c->user_n);
        return SASL_CHALLENGE;
    case 2:
        buf_add(out, c->password, c->password_n);
        return SASL_OK;
    default:
        return SASL_FAIL;
    }
}

/* --- SCRAM-SHA-256 --- */

static enum sasl_result
scram_client_first(struct sasl_client *c, struct buf *out)
{
    if (!c->nonce[0] && !sasl_nonce(c->nonce))
        return SASL_FAIL;
    buf_clear(&c->transcript);
    buf_c(&c->transcript, "n=");
    for (size_t i = 0; i < c->user_n; i++) {
        if (c->user[i] == ',')
            buf_c(&c->transcript, "=2C");
        else if (c->user[i] == '=')
            buf_c(&c->transcript, "=3D");
        else
            buf_char(&c->transcript, c->user[i]);
    }
    buf_c(&c->transcript, ",r=");
    buf_c(&c->transcript, c->nonce);
    buf_c(out, "n,,");
    buf_str(out, buf_view(&c->transcript));
    c->step = 1;
    return SASL_CHALLENGE;
}

struct scram_server_first {
    struct str nonce;
    uint8_t salt[256];
    size_t salt_n;
    uint32_t iterations;
};

static bool
scram_server_first(const struct sasl_client *c, struct str challenge,
                   struct scram_server_first *ret)
{
    struct str rest = challenge, salt, count, own = str_c(c->nonce);
    uint64_t iterations;
    ssize_t n;

    if (!scram_attr(&rest, 'r', &ret->nonce) || !scram_attr(&rest, 's', &salt) ||
        !scram_attr(&rest, 'i', &count))
        return false;
    if (!str_starts(ret->nonce, own) || ret->nonce.n == own.n || ret->nonce.n > 1024)
        return false;
    n = codec_unbase64(salt, ret->salt, sizeof(ret->salt));
    if (n <= 0 || str_u64(count, &iterations))
        return false;
    if (iterations < SASL_ITERATIONS || iterations > SASL_ITERATIONS_PEER)
        return false;
    ret->salt_n = (size_t)n;
    ret->iterations = (uint32_t)iterations;
    return true;
}

static enum sasl_result
scram_client_final(struct sasl_client *c, struct str challenge, struct buf *out)
{
    struct scram_server_first first;
    uint8_t salted[SCRAM_HASH], key[SCRAM_HASH], stored[SCRAM_HASH], signature[SCRAM_HASH];
    size_t at;
    bool good;

    if (!scram_server_first(c, challenge, &first))
        return SASL_FAIL;
    buf_char(&c->transcript, ',');
    buf_str(&c->transcript, challenge);
    buf_char(&c->transcript, ',');
    at = c->transcript.n;
    buf_c(&c->transcript, "c=biws,r="); /* base64 of "n,," */
    buf_str(&c->transcript, first.nonce);
    good = !c->transcript.failed &&
           sasl_salted(str_of(c->password, c->password_n), str_of(first.salt, first.salt_n),
                       first.iterations, salted) &&
           sasl_keys(salted, key, stored, c->server_key) &&
           sasl_hmac(stored, sizeof(stored), buf_view(&c->transcript), signature);
    OPENSSL_cleanse(salted, sizeof(salted));
    if (good) {
        for (unsigned i = 0; i < SCRAM_HASH; i++)
            signature[i] ^= key[i];
        buf_add(out, c->transcript.p + at, c->transcript.n - at);
        buf_c(out, ",p=");
        codec_base64(out, str_of(signature, sizeof(signature)));
    }
    OPENSSL_cleanse(key, sizeof(key));
    c->step = 2;
    return good && !out->failed ? SASL_CHALLENGE : SASL_FAIL;
}

static enum sasl_result
scram_client_proof(struct sasl_client *c, struct str challenge)
{
    uint8_t want[SCRAM_HASH], got[SCRAM_HASH];
    struct str text;

    c->step = 3;
    if (!scram_attr(&challenge, 'v', &text) ||
        codec_unbase64(text, got, sizeof(got)) != SCRAM_HASH ||
        !sasl_hmac(c->server_key, SCRAM_HASH, buf_view(&c->transcript), want))
        return SASL_FAIL;
    return sasl_same(got, want, SCRAM_HASH) ? SASL_OK : SASL_FAIL;
}

static enum sasl_result
client_scram(struct sasl_client *c, struct str challenge, struct buf *out)
{
    if (!c->step || (!challenge.n && client_repeats(c)))
        return scram_client_first(c, out);
    if (c->step == 1)
        return scram_client_final(c, challenge, out);
    return c->step == 2 ? scram_client_proof(c, challenge) : SASL_FAIL;
}

static const struct sasl_client_row client_rows[] = {
    /* best first */
    {"SCRAM-SHA-256", client_scram, false},
    {"PLAIN", client_plain, true},
    {"LOGIN", client_login, true},
};

static bool
client_offered(struct str offered, const char *mech)
{
    struct str word;

    while ((word = str_word(&offered)).n)
        if (str_ieq(word, str_c(mech)))
            return true;
    return false;
}

struct sasl_client *
sasl_client_create(struct str offered, struct str user, struct str password, bool show)
{
    struct sasl_client *c;

    if (!sasl_name_ok(user) || password.n > SASL_PASSWORD_MAX ||
        (password.n && memchr(password.p, 0, password.n)))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(client_rows); i++) {
        if (!client_offered(offered, client_rows[i].mech) || (client_rows[i].shows && !show))
            continue;
        c = calloc(1, sizeof(*c));
        if (!c)
            return NULL;
        c->row = &client_rows[i];
        memcpy(c->user, user.p, user.n);
        c->user_n = user.n;
        if (password.n)
            memcpy(c->password, password.p, password.n);
        c->password_n = password.n;
        buf_init(&c->transcript, SASL_MESSAGE_MAX);
        return c;
    }
    return NULL;
}

void
sasl_client_free(struct sasl_client *c)
{
    if (!c)
        return;
    buf_done(&c->transcript);
    OPENSSL_cleanse(c, sizeof(*c));
    free(c);
}

const char *
sasl_client_mech(const struct sasl_client *c)
{
    return c->row->mech;
}

enum sasl_result
sasl_client_step(struct sasl_client *c, struct str challenge, struct buf *out)
{
    enum sasl_result result = c->row->step(c, challenge, out);

    return out->failed ? SASL_FAIL : result;
}

void
sasl_client_set_nonce(struct sasl_client *c, const char *nonce)
{
    str_copy(str_c(nonce), c->nonce, sizeof(c->nonce));
}
