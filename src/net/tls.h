/*
 * net/tls.h - TLS contexts over OpenSSL 3: server ones with several certificates by SNI, client
 * ones with a policy. TLS 1.2 and 1.3 (1.0/1.1 by setting), no renegotiation, no compression.
 */
#ifndef GAPURA_NET_TLS_H
#define GAPURA_NET_TLS_H

#include "core/err.h"
#include "core/str.h"

struct tls_context;
struct tls_key_pair { /* PEM text; certificates of the chain in one text, leaf first */
    struct str certificate;
    struct str key;
};
struct tls_server_conf {
    const struct tls_key_pair *pairs; /* the first is the default; names are read from them */
    size_t npairs;
    struct str client_ca; /* PEM; empty: client certificates are not asked for */
    bool legacy;          /* TLS 1.0 and 1.1 as well */
};
/* Holds no reference to the texts afterwards. Refcounted: sessions keep an old one alive. */
int tls_server_context(struct tls_context **ret, const struct tls_server_conf *, struct why *);
struct tls_tlsa { /* a DNSSEC-proved TLSA record (RFC 6698) */
    uint8_t usage, selector, matching;
    struct str data;
};
struct tls_client_conf {
    bool verify;   /* chain and name must be right (MUST); else opportunistic */
    bool legacy;   /* TLS 1.0 and 1.1 as well, and weak ciphers: better than plain text */
    struct str ca; /* PEM of trusted roots, empty: the system's */
    const struct tls_key_pair *pair; /* our client certificate or NULL */
    /* DANE (RFC 7672): these decide instead of the roots. ERR_UNSUPPORTED if none can be used. */
    const struct tls_tlsa *tlsa;
    size_t ntlsa;
};
int tls_client_context(struct tls_context **ret, const struct tls_client_conf *, struct why *);
/* When the first certificate of the text ends, seconds since 1970. ERR_SYNTAX: it has none. */
int tls_certificate_end(struct str pem, uint64_t *ret_s);
void tls_context_unref(struct tls_context *);
struct tls_context *tls_context_ref(struct tls_context *);

struct tls_info {
    char version[16], cipher[64];
    char peer_name[256]; /* subject CN or first DNS name of the peer's certificate; may be empty */
    char peer_hash[65];  /* hex SHA-256 of the peer's certificate; empty if it gave none */
    bool verified;
    bool resumed;
    char sni[256];
};
/* What both ends see of the same connection and nobody between them can (RFC 5929, RFC 9266). */
struct tls_binding {
    uint8_t exporter[32];           /* tls-exporter */
    uint8_t endpoint[64];           /* tls-server-end-point: hash of the server's certificate */
    uint8_t exporter_n, endpoint_n; /* 0: cannot be had */
};

/*
 * Used by net/stream_tls.c only: one connection's engine. It reads from the bytes it is fed, where
 * they lie, and appends bytes for the wire to `out`, which the caller sends after each call.
 */
struct tls_session;
struct buf;
/* Verify against `name` as a client (SNI too); NULL: no memory. Takes a reference of the context.
 */
struct tls_session *tls_session_create(struct tls_context *, bool server, struct str name,
                                       struct buf *out);
void tls_session_free(struct tls_session *);
/* The bytes must stay until tls_session_read gave 0 or less, or the handshake gave 0. */
void tls_session_feed(struct tls_session *, const char *in, size_t n);
/* 1: over (bytes fed may be left: read them), 0: goes on when more is fed, ERR_TLS (why filled). */
int tls_session_handshake(struct tls_session *, struct why *);
/* Bytes, 0: none now, ERR_CLOSED: the peer said so, ERR_TLS. */
ssize_t tls_session_read(struct tls_session *, char *dst, size_t cap, struct why *);
int tls_session_write(struct tls_session *, const char *p, size_t n, struct why *);
void tls_session_shutdown(struct tls_session *);
void tls_session_info(const struct tls_session *, struct tls_info *ret);
void tls_session_binding(const struct tls_session *, struct tls_binding *ret);

#endif
