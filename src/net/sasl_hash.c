/*
 * net/sasl_hash.c - HMAC, SHA-256, PBKDF2 and random bytes for SASL, over OpenSSL 3.
 *
 * Called by the other sasl files. Algorithms are fetched once for the process and never freed.
 * Passwords are taken as UTF-8 bytes: for ASCII this is what SASLprep (RFC 4013) gives.
 */
#include "core/openssl.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <pthread.h>

#include "core/codec.h"
#include "net/sasl_inner.h"

static pthread_once_t sasl_once = PTHREAD_ONCE_INIT;
static EVP_MD *sasl_sha256;
static EVP_MAC *sasl_mac;
static EVP_KDF *sasl_kdf;

static void
sasl_fetch(void)
{
    sasl_sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    sasl_mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    sasl_kdf = EVP_KDF_fetch(NULL, "PBKDF2", NULL);
}

static bool
sasl_fetched(void)
{
    return !pthread_once(&sasl_once, sasl_fetch) && sasl_sha256 && sasl_mac && sasl_kdf;
}

bool
sasl_hash(const void *p, size_t n, uint8_t ret[SCRAM_HASH])
{
    return sasl_fetched() && EVP_Digest(p, n, ret, NULL, sasl_sha256, NULL) == 1;
}

bool
sasl_hmac(const void *key, size_t key_n, struct str data, uint8_t ret[SCRAM_HASH])
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC_CTX *ctx;
    size_t n = 0;
    bool good;

    if (!sasl_fetched())
        return false;
    ctx = EVP_MAC_CTX_new(sasl_mac);
    good = ctx && EVP_MAC_init(ctx, key, key_n, params) == 1 &&
           EVP_MAC_update(ctx, (const unsigned char *)data.p, data.n) == 1 &&
           EVP_MAC_final(ctx, ret, &n, SCRAM_HASH) == 1 && n == SCRAM_HASH;
    EVP_MAC_CTX_free(ctx);
    return good;
}

bool
sasl_salted(struct str password, struct str salt, uint32_t iterations, uint8_t ret[SCRAM_HASH])
{
    static char none[] = "";
    char digest[] = "SHA256";
    uint64_t iter = iterations;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(
            OSSL_KDF_PARAM_PASSWORD, password.n ? (void *)(uintptr_t)password.p : none, password.n),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt.p, salt.n),
        OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_ITER, &iter),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF_CTX *ctx;
    bool good;

    if (!sasl_fetched() || !salt.n || !iterations)
        return false;
    ctx = EVP_KDF_CTX_new(sasl_kdf);
    good = ctx && EVP_KDF_derive(ctx, ret, SCRAM_HASH, params) == 1;
    EVP_KDF_CTX_free(ctx);
    return good;
}

bool
sasl_keys(const uint8_t salted[SCRAM_HASH], uint8_t ret_client[SCRAM_HASH],
          uint8_t ret_stored[SCRAM_HASH], uint8_t ret_server[SCRAM_HASH])
{
    return sasl_hmac(salted, SCRAM_HASH, STR("Client Key"), ret_client) &&
           sasl_hash(ret_client, SCRAM_HASH, ret_stored) &&
           sasl_hmac(salted, SCRAM_HASH, STR("Server Key"), ret_server);
}

bool
sasl_nonce(char ret[SASL_NONCE_TEXT])
{
    uint8_t raw[18];
    struct buf text;
    bool good;

    if (RAND_bytes(raw, sizeof(raw)) != 1)
        return false;
    buf_init(&text, SASL_NONCE_TEXT);
    codec_base64(&text, str_of(raw, sizeof(raw))); /* 24 characters, no comma among them */
    good = !text.failed && str_copy(buf_view(&text), ret, SASL_NONCE_TEXT);
    buf_done(&text);
    return good;
}

bool
sasl_same(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

bool
scram_attr(struct str *rest, char name, struct str *ret_value)
{
    struct str after, item = str_cut(*rest, ',', &after);

    if (item.n < 2 || item.p[0] != name || item.p[1] != '=')
        return false;
    *ret_value = str_from(item, 2);
    *rest = after;
    return true;
}

bool
sasl_name_ok(struct str user)
{
    return user.n && user.n <= SASL_USER_MAX && str_is_utf8(user) && !str_has_ctl(user);
}
