/*
 * auth/dkim_crypto.c - SHA-256, RSA and Ed25519 verification; public keys out of DER.
 *
 * Called by dkim_canon, dkim_key, the verifier and the signers. Reads DER by itself: a key's size
 * is known and judged before the library does arithmetic with it.
 */
#include "core/openssl.h"

#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <pthread.h>

#include "auth/dkim_crypto.h"
#include "auth/dkim_crypto_inner.h"
#include "core/err.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct dkim_algs algs;

static void
fetch(void)
{
    algs.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    algs.sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
}

const struct dkim_algs *
dkim_algs_get(void)
{
    return !pthread_once(&once, fetch) && algs.sha256 ? &algs : NULL;
}

bool
dkim_digest_begin(void *md, bool sha1)
{
    const struct dkim_algs *a = dkim_algs_get();

    if (!a || (sha1 && !a->sha1))
        return false;
    return EVP_DigestInit_ex2(md, sha1 ? a->sha1 : a->sha256, NULL) == 1;
}

/* --- DER --- */

/* One element of that tag off the front of *in. */
static int
der_take(struct str *in, uint8_t tag, struct str *ret)
{
    const uint8_t *p = (const uint8_t *)in->p;
    size_t head = 2, n;

    if (in->n < 2 || p[0] != tag)
        return ERR_SYNTAX;
    n = p[1];
    if (n & 0x80) {
        size_t bytes = n & 0x7f;

        if (bytes < 1 || bytes > 2 || in->n < 2 + bytes)
            return ERR_SYNTAX;
        n = bytes == 1 ? p[2] : (size_t)p[2] << 8 | p[3];
        if (n < (bytes == 1 ? 0x80u : 0x100u))
            return ERR_SYNTAX;
        head += bytes;
    }
    if (in->n - head < n)
        return ERR_SYNTAX;
    *ret = str_of(in->p + head, n);
    *in = str_of(in->p + head + n, in->n - head - n);
    return 0;
}

/* A positive INTEGER without its leading zero. */
static int
der_integer(struct str *in, struct str *ret)
{
    struct str v;

    if (der_take(in, 0x02, &v) < 0 || !v.n || v.p[0] & 0x80)
        return ERR_SYNTAX;
    if (!v.p[0] && v.n > 1) {
        v = str_from(v, 1);
        if (!(v.p[0] & 0x80))
            return ERR_SYNTAX;
    }
    if (!v.p[0])
        return ERR_SYNTAX;
    *ret = v;
    return 0;
}

static unsigned
bits_of(struct str number)
{
    unsigned top = (uint8_t)number.p[0], bits = (unsigned)(number.n - 1) * 8;

    return bits + 32 - (unsigned)__builtin_clz(top);
}

/* RFC 6376 says RSAPublicKey and everybody publishes SubjectPublicKeyInfo (erratum 3017): both. */
int
dkim_rsa_parse(struct str der, struct dkim_rsa *ret)
{
    static const char oid[] = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
    struct str outer = der, seq, algorithm, id, inner;
    struct dkim_rsa key;

    if (der_take(&outer, 0x30, &seq) < 0 || outer.n)
        return ERR_SYNTAX;
    if (seq.n && seq.p[0] == 0x30) {
        if (der_take(&seq, 0x30, &algorithm) < 0 || der_take(&algorithm, 0x06, &id) < 0 ||
            !str_eq(id, str_of(oid, sizeof(oid) - 1)) || der_take(&seq, 0x03, &inner) < 0 ||
            seq.n || !inner.n || inner.p[0])
            return ERR_SYNTAX;
        inner = str_from(inner, 1);
        if (der_take(&inner, 0x30, &seq) < 0 || inner.n)
            return ERR_SYNTAX;
    }
    if (der_integer(&seq, &key.modulus) < 0 || der_integer(&seq, &key.exponent) < 0 || seq.n)
        return ERR_SYNTAX;
    /* An exponent of more than 64 bits is nobody's, and makes verification slow. */
    if (key.exponent.n > 8)
        return ERR_SYNTAX;
    key.bits = bits_of(key.modulus);
    *ret = key;
    return 0;
}

/* --- public keys --- */

struct dkim_pub {
    EVP_PKEY *key;
    EVP_PKEY_CTX *verify; /* RSA: begun once, used for every signature */
    EVP_MD_CTX *md;       /* Ed25519 */
    size_t bytes;         /* of a signature */
    bool sha1;            /* what `verify` is set to */
};

void
dkim_pub_free(struct dkim_pub *k)
{
    if (!k)
        return;
    EVP_PKEY_CTX_free(k->verify);
    EVP_MD_CTX_free(k->md);
    EVP_PKEY_free(k->key);
    free(k);
}

static EVP_PKEY *
rsa_key(const struct dkim_rsa *rsa)
{
    BIGNUM *n = BN_bin2bn((const uint8_t *)rsa->modulus.p, (int)rsa->modulus.n, NULL);
    BIGNUM *e = BN_bin2bn((const uint8_t *)rsa->exponent.p, (int)rsa->exponent.n, NULL);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *key = NULL;

    if (n && e && bld && ctx && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        params = OSSL_PARAM_BLD_to_param(bld);
    if (params && (EVP_PKEY_fromdata_init(ctx) != 1 ||
                   EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1))
        key = NULL;
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    EVP_PKEY_CTX_free(ctx);
    BN_free(n);
    BN_free(e);
    return key;
}

static bool
rsa_begin(struct dkim_pub *k, bool sha1)
{
    const struct dkim_algs *a = dkim_algs_get();

    k->sha1 = sha1;
    return a && EVP_PKEY_verify_init(k->verify) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(k->verify, RSA_PKCS1_PADDING) == 1 &&
           EVP_PKEY_CTX_set_signature_md(k->verify, sha1 ? a->sha1 : a->sha256) == 1;
}

int
dkim_pub_rsa(const struct dkim_rsa *rsa, struct dkim_pub **ret)
{
    struct dkim_pub *k = calloc(1, sizeof(*k));

    if (!k)
        return ERR_NOMEM;
    k->key = rsa_key(rsa);
    k->bytes = rsa->modulus.n;
    if (k->key)
        k->verify = EVP_PKEY_CTX_new_from_pkey(NULL, k->key, NULL);
    if (!k->verify || !rsa_begin(k, false)) {
        ERR_clear_error();
        dkim_pub_free(k);
        return ERR_SYNTAX;
    }
    *ret = k;
    return 0;
}

int
dkim_pub_ed25519(const uint8_t key[32], struct dkim_pub **ret)
{
    struct dkim_pub *k = calloc(1, sizeof(*k));

    if (!k)
        return ERR_NOMEM;
    k->key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, 32);
    k->md = EVP_MD_CTX_new();
    k->bytes = 64;
    if (!k->key || !k->md || EVP_DigestVerifyInit(k->md, NULL, NULL, NULL, k->key) != 1) {
        ERR_clear_error();
        dkim_pub_free(k);
        return ERR_SYNTAX;
    }
    *ret = k;
    return 0;
}

int
dkim_pub_verify(struct dkim_pub *k, enum dkim_alg alg, const uint8_t *digest, size_t n,
                const uint8_t *signature, size_t signature_n)
{
    int rc;

    if ((alg == DKIM_ED25519_SHA256) != (k->md != NULL))
        return 0;
    if (signature_n != k->bytes)
        return 0; /* no arithmetic for what cannot fit */
    if (k->md) {
        /* Without a key: begins again with the one it has. */
        if (EVP_DigestVerifyInit(k->md, NULL, NULL, NULL, NULL) != 1)
            return ERR_TLS;
        rc = EVP_DigestVerify(k->md, signature, signature_n, digest, n);
    } else {
        if (k->sha1 != (alg == DKIM_RSA_SHA1) && !rsa_begin(k, alg == DKIM_RSA_SHA1))
            return ERR_TLS;
        rc = EVP_PKEY_verify(k->verify, signature, signature_n, digest, n);
    }
    if (rc != 1)
        ERR_clear_error(); /* malformed signatures are reported like errors of ours */
    return rc == 1;
}
