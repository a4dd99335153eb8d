/*
 * auth/dkim_crypto.h - hashes and public keys over OpenSSL 3; algorithms are fetched once.
 *
 * Sizes are judged on the bytes of the key, before the library sees them.
 */
#ifndef GAPURA_AUTH_DKIM_CRYPTO_H
#define GAPURA_AUTH_DKIM_CRYPTO_H

#include "auth/dkim.h"
#include "core/buf.h"

/* md: EVP_MD_CTX. Begins SHA-256 (or SHA-1, for old test data). */
bool dkim_digest_begin(void *md, bool sha1);

/* RSA: modulus and exponent inside a SubjectPublicKeyInfo or RSAPublicKey. */
struct dkim_rsa {
    struct str modulus, exponent; /* big endian, no leading zeros */
    unsigned bits;
};
/* DER, strictly: ERR_SYNTAX for anything but one whole key of rsaEncryption. */
int dkim_rsa_parse(struct str der, struct dkim_rsa *ret);

struct dkim_pub; /* a public key that is ready for use; not for two threads at once */
int dkim_pub_rsa(const struct dkim_rsa *, struct dkim_pub **ret); /* 0, ERR_* */
int dkim_pub_ed25519(const uint8_t key[32], struct dkim_pub **ret);
void dkim_pub_free(struct dkim_pub *);
/* 1 it fits, 0 it does not, negative: the library failed. */
int dkim_pub_verify(struct dkim_pub *, enum dkim_alg, const uint8_t *digest, size_t n,
                    const uint8_t *signature, size_t signature_n);

/* A private key: the keyring's, the command line's and the tests'. Nobody else may hold one. */
struct dkim_private;
/* PEM (PKCS#1 or PKCS#8, no passphrase) or, for Ed25519, the base64 of its 32 bytes. */
int dkim_private_load(struct str text, struct dkim_private **ret, struct str *ret_why);
/* A new key: Ed25519, or RSA of so many bits (1024 to 8192; takes a second or more for large ones).
 */
int dkim_private_make(enum dkim_alg, unsigned bits, struct dkim_private **ret);
/* The same key for another thread. */
int dkim_private_clone(const struct dkim_private *, struct dkim_private **ret);
/* PKCS#8 PEM, in the clear: to be sealed at once, and wiped. */
int dkim_private_text(const struct dkim_private *, struct buf *out);
void dkim_private_free(struct dkim_private *);
enum dkim_alg dkim_private_alg(const struct dkim_private *);
unsigned dkim_private_bits(const struct dkim_private *);
/* A callback for dkim_sign() and arc_seal(): ctx is the struct dkim_private. Bytes of the
 * signature, or negative. */
ssize_t dkim_private_sign(void *ctx, enum dkim_alg, const uint8_t *digest, size_t n, uint8_t *dst,
                          size_t cap);
/* The p= of the key's record: base64 into dst. Length or negative. */
ssize_t dkim_private_public(const struct dkim_private *, char *dst, size_t cap);

#endif
