/*
 * auth/dkim_crypto_private.c - private keys: load, sign, and the public half for the key record.
 *
 * Called by the keyring, the command line and tests. The key never leaves the struct.
 */
#include "core/openssl.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "auth/dkim_crypto.h"
#include "auth/dkim_crypto_inner.h"
#include "auth/dkim_tag.h"
#include "core/codec.h"
#include "core/err.h"

struct dkim_private {
    EVP_PKEY *key;
    EVP_PKEY_CTX *sign; /* RSA: begun once */
    EVP_MD_CTX *md;     /* Ed25519 */
    enum dkim_alg alg;
    unsigned bits;
};

void
dkim_private_free(struct dkim_private *k)
{
    if (!k)
        return;
    EVP_PKEY_CTX_free(k->sign);
    EVP_MD_CTX_free(k->md);
    EVP_PKEY_free(k->key);
    free(k);
}

enum dkim_alg
dkim_private_alg(const struct dkim_private *k)
{
    return k->alg;
}

unsigned
dkim_private_bits(const struct dkim_private *k)
{
    return k->bits;
}

/* A key with a passphrase is refused instead of asked for on the terminal. */
static int
no_passphrase(char *buf, int size, int writing, void *ctx)
{
    (void)buf, (void)size, (void)writing, (void)ctx;
    return -1;
}

static EVP_PKEY *
read_key(struct str text)
{
    uint8_t seed[33];
    EVP_PKEY *key = NULL;
    BIO *bio;

    if (str_find(text, STR("-----BEGIN")) < 0) {
        ssize_t n = dkim_base64(dkim_trim(text), seed, sizeof(seed));

        if (n == 32)
            key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
        OPENSSL_cleanse(seed, sizeof(seed));
        return key;
    }
    bio = BIO_new_mem_buf(text.p, (int)MIN(text.n, 65536u));
    if (bio)
        key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    return key;
}

static bool
begin(struct dkim_private *k)
{
    const struct dkim_algs *a = dkim_algs_get();

    if (k->alg == DKIM_ED25519_SHA256) {
        k->md = EVP_MD_CTX_new();
        return k->md && EVP_DigestSignInit(k->md, NULL, NULL, NULL, k->key) == 1;
    }
    k->sign = EVP_PKEY_CTX_new_from_pkey(NULL, k->key, NULL);
    return a && k->sign && EVP_PKEY_sign_init(k->sign) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(k->sign, RSA_PKCS1_PADDING) == 1 &&
           EVP_PKEY_CTX_set_signature_md(k->sign, a->sha256) == 1;
}

/* Takes the key, NULL as well. */
static int
adopt(EVP_PKEY *key, struct dkim_private **ret, struct str *ret_why)
{
    struct dkim_private *k = calloc(1, sizeof(*k));

    *ret_why = STR("out of memory");
    if (!k) {
        EVP_PKEY_free(key);
        return ERR_NOMEM;
    }
    k->key = key;
    *ret_why = STR("neither a PEM private key without passphrase nor the base64 of an Ed25519 key");
    if (!k->key)
        goto bad;
    k->bits = (unsigned)EVP_PKEY_get_bits(k->key);
    *ret_why = STR("the key is neither RSA of 1024 to 8192 bits nor Ed25519");
    if (EVP_PKEY_is_a(k->key, "ED25519"))
        k->alg = DKIM_ED25519_SHA256;
    else if (EVP_PKEY_is_a(k->key, "RSA") && k->bits >= 1024 && k->bits <= 8192)
        k->alg = DKIM_RSA_SHA256;
    else
        goto bad;
    *ret_why = STR("the crypto library refuses the key");
    if (!begin(k))
        goto bad;
    *ret_why = STR_NONE;
    *ret = k;
    return 0;
bad:
    ERR_clear_error();
    dkim_private_free(k);
    return ERR_SYNTAX;
}

int
dkim_private_load(struct str text, struct dkim_private **ret, struct str *ret_why)
{
    return adopt(read_key(text), ret, ret_why);
}

int
dkim_private_make(enum dkim_alg alg, unsigned bits, struct dkim_private **ret)
{
    EVP_PKEY *key = alg == DKIM_ED25519_SHA256 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                    : alg == DKIM_RSA_SHA256   ? EVP_RSA_gen(bits)
                                               : NULL;
    struct str why;

    return key ? adopt(key, ret, &why) : ERR_TLS;
}

int
dkim_private_clone(const struct dkim_private *k, struct dkim_private **ret)
{
    struct str why;

    return EVP_PKEY_up_ref(k->key) == 1 ? adopt(k->key, ret, &why) : ERR_TLS;
}

int
dkim_private_text(const struct dkim_private *k, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    char *p = NULL;
    long n = 0;

    if (bio && PEM_write_bio_PrivateKey(bio, k->key, NULL, NULL, 0, NULL, NULL) == 1)
        n = BIO_get_mem_data(bio, &p);
    if (n > 0)
        buf_add(out, p, (size_t)n);
    BIO_free(bio);
    return n > 0 && !out->failed ? 0 : ERR_TLS;
}

ssize_t
dkim_private_sign(void *ctx, enum dkim_alg alg, const uint8_t *digest, size_t n, uint8_t *dst,
                  size_t cap)
{
    struct dkim_private *k = ctx;
    size_t got = cap;
    bool good;

    if (alg != k->alg)
        return ERR_UNSUPPORTED;
    if (k->md) {
        /* Without a key: begins again with the one it has. */
        good = EVP_DigestSignInit(k->md, NULL, NULL, NULL, NULL) == 1 &&
               EVP_DigestSign(k->md, dst, &got, digest, n) == 1;
    } else {
        good = EVP_PKEY_sign(k->sign, dst, &got, digest, n) == 1;
    }
    if (!good)
        ERR_clear_error();
    return good ? (ssize_t)got : ERR_TLS;
}

ssize_t
dkim_private_public(const struct dkim_private *k, char *dst, size_t cap)
{
    uint8_t raw[2048], *at = raw;
    size_t n = sizeof(raw);
    struct buf out;
    ssize_t rc = ERR_TLS;
    int len;

    buf_init(&out, cap);
    if (k->alg == DKIM_ED25519_SHA256) {
        if (EVP_PKEY_get_raw_public_key(k->key, raw, &n) != 1)
            return ERR_TLS;
    } else {
        len = i2d_PUBKEY(k->key, NULL);
        if (len <= 0 || (size_t)len > sizeof(raw) || i2d_PUBKEY(k->key, &at) != len)
            return ERR_TLS;
        n = (size_t)len;
    }
    codec_base64(&out, str_of(raw, n));
    if (!out.failed && out.n < cap && str_copy(buf_view(&out), dst, cap))
        rc = (ssize_t)out.n;
    buf_done(&out);
    return rc;
}
