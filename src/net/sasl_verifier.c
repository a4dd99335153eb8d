/*
 * net/sasl_verifier.c - what is stored instead of a password, and its text form.
 *
 * Called where users are made and where passwords are checked. Never keeps a password.
 */
#include "core/openssl.h"

#include <openssl/rand.h>

#include "core/codec.h"
#include "net/sasl_inner.h"

int
sasl_verifier_make(struct str password, uint32_t iterations, struct sasl_verifier *ret)
{
    struct sasl_verifier v = {.iterations = iterations ? iterations : SASL_ITERATIONS};
    uint8_t salted[SCRAM_HASH], client[SCRAM_HASH];
    bool good;

    if (password.n > SASL_PASSWORD_MAX || v.iterations < SASL_ITERATIONS ||
        v.iterations > SASL_ITERATIONS_MAX)
        return ERR_LIMIT;
    good = RAND_bytes(v.salt, sizeof(v.salt)) == 1 &&
           sasl_salted(password, str_of(v.salt, sizeof(v.salt)), v.iterations, salted) &&
           sasl_keys(salted, client, v.stored_key, v.server_key);
    OPENSSL_cleanse(salted, sizeof(salted));
    OPENSSL_cleanse(client, sizeof(client));
    if (!good)
        return ERR_TLS;
    *ret = v;
    return 0;
}

void
sasl_verifier_show(const struct sasl_verifier *v, char dst[SASL_VERIFIER_TEXT])
{
    struct buf b;

    buf_init(&b, SASL_VERIFIER_TEXT);
    buf_c(&b, "SCRAM-SHA-256$");
    buf_u64(&b, v->iterations);
    buf_char(&b, ':');
    codec_base64(&b, str_of(v->salt, sizeof(v->salt)));
    buf_char(&b, '$');
    codec_base64(&b, str_of(v->stored_key, sizeof(v->stored_key)));
    buf_char(&b, ':');
    codec_base64(&b, str_of(v->server_key, sizeof(v->server_key)));
    if (b.failed || !str_copy(buf_view(&b), dst, SASL_VERIFIER_TEXT))
        dst[0] = '\0';
    buf_done(&b);
}

int
sasl_verifier_parse(struct str text, struct sasl_verifier *ret)
{
    struct sasl_verifier v = {0};
    struct str rest, iterations, salt, stored;
    uint64_t n;

    if (!str_starts(text, STR("SCRAM-SHA-256$")))
        return ERR_SYNTAX;
    iterations = str_cut(str_from(text, 14), ':', &rest);
    salt = str_cut(rest, '$', &rest);
    stored = str_cut(rest, ':', &rest);
    if (str_u64(iterations, &n))
        return ERR_SYNTAX;
    if (!n || n > SASL_ITERATIONS_MAX)
        return ERR_LIMIT;
    v.iterations = (uint32_t)n;
    if (codec_unbase64(salt, v.salt, sizeof(v.salt)) != sizeof(v.salt) ||
        codec_unbase64(stored, v.stored_key, SCRAM_HASH) != SCRAM_HASH ||
        codec_unbase64(rest, v.server_key, SCRAM_HASH) != SCRAM_HASH)
        return ERR_SYNTAX;
    *ret = v;
    return 0;
}

bool
sasl_verifier_check(const struct sasl_verifier *v, struct str password)
{
    uint8_t salted[SCRAM_HASH], client[SCRAM_HASH], stored[SCRAM_HASH], server[SCRAM_HASH];
    bool good = password.n <= SASL_PASSWORD_MAX &&
                sasl_salted(password, str_of(v->salt, sizeof(v->salt)), v->iterations, salted) &&
                sasl_keys(salted, client, stored, server) &&
                sasl_same(stored, v->stored_key, SCRAM_HASH);

    OPENSSL_cleanse(salted, sizeof(salted));
    OPENSSL_cleanse(client, sizeof(client));
    return good;
}
