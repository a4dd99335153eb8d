/*
 * lab/cert.c - a self-signed certificate (P-256, 30 days) by OpenSSL.
 *
 * Called once at the start of the lab; nobody trusts it, which is what opportunistic TLS meets.
 */
#include "core/openssl.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "lab/cert.h"

#define DAYS 30

static bool
add_names(X509 *x, const struct str *names, size_t n)
{
    CLEANUP(buf_done) struct buf text;
    X509_EXTENSION *e;
    bool good;

    buf_init(&text, 16384);
    for (size_t i = 0; i < n; i++)
        buf_fmt(&text, "%sDNS:%.*s", i ? "," : "", STR_ARG(names[i]));
    buf_char(&text, 0);
    if (text.failed)
        return false;
    e = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, text.p);
    good = e && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return good;
}

static bool
fill(X509 *x, EVP_PKEY *key, const struct str *names, size_t n)
{
    X509_NAME *subject = X509_get_subject_name(x);

    return X509_set_version(x, X509_VERSION_3) == 1 &&
           ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(x), -3600) &&
           X509_gmtime_adj(X509_getm_notAfter(x), 86400L * DAYS) && X509_set_pubkey(x, key) == 1 &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                      (const unsigned char *)names[0].p, (int)names[0].n, -1,
                                      0) == 1 &&
           X509_set_issuer_name(x, subject) == 1 && add_names(x, names, n) &&
           X509_sign(x, key, EVP_sha256()) > 0;
}

static bool
take(BIO *bio, struct buf *out)
{
    char *p = NULL;
    long n = BIO_get_mem_data(bio, &p);

    buf_init(out, 65536);
    buf_add(out, p, n > 0 ? (size_t)n : 0);
    return n > 0 && !out->failed;
}

int
lab_cert_make(const struct str *names, size_t n, struct buf *cert, struct buf *key, struct why *why)
{
    EVP_PKEY *pkey = n ? EVP_EC_gen("P-256") : NULL;
    X509 *x = X509_new();
    BIO *bc = BIO_new(BIO_s_mem()), *bk = BIO_new(BIO_s_mem());
    bool good = pkey && x && bc && bk && fill(x, pkey, names, n) &&
                PEM_write_bio_X509(bc, x) == 1 &&
                PEM_write_bio_PrivateKey(bk, pkey, NULL, NULL, 0, NULL, NULL) == 1 &&
                take(bc, cert) && take(bk, key);

    BIO_free(bc);
    BIO_free(bk);
    X509_free(x);
    EVP_PKEY_free(pkey);
    return good ? 0 : why_set(why, ERR_TLS, "OpenSSL makes no certificate for the lab");
}
