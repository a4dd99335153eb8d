/*
 * net/tls_inner.h - a TLS context's insides, for tls.c and tls_session.c.
 */
#ifndef GAPURA_NET_TLS_INNER_H
#define GAPURA_NET_TLS_INNER_H

/* OpenSSL has a type of this name, the house has an error code. */
#define ERR_STATE openssl_err_state
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#undef ERR_STATE

#include <stdatomic.h>

#include "core/map.h"
#include "net/tls.h"

struct tls_pair { /* one name's certificates; two if it has RSA and ECDSA keys */
    SSL_CTX *ssl;
    int key_types[4];
    unsigned nkeys;
    char first[256];
};

struct tls_context {
    atomic_uint refs;
    bool server, verify;
    struct tls_pair *pairs; /* a client's context has one */
    size_t npairs;
    struct map names; /* lower-case name or "*.domain" -> SSL_CTX; keys are malloced */
    struct tls_tlsa *tlsa;
    size_t ntlsa;
};

/* Fills why with the library's own words for its last error; returns ERR_TLS. */
int tls_why(struct why *why, const char *what);
/* The certificate's first DNS name, else its common name; "" if it has neither. */
void tls_first_name(X509 *x, char *dst, size_t cap);
/* How many of the records the library can use, after adding them. */
unsigned tls_add_tlsa(SSL *ssl, const struct tls_context *c);

#endif
