/*
 * gate/received.h - our trace field (RFC 5321 4.4), written once for each message.
 */
#ifndef GAPURA_GATE_RECEIVED_H
#define GAPURA_GATE_RECEIVED_H

#include "core/addr.h"
#include "core/buf.h"

struct received {
    struct str helo;        /* as the client said it; empty if it said nothing */
    struct str client_name; /* confirmed by reverse and forward DNS; empty: unknown */
    struct addr client;
    struct str local;    /* "uid 1000": a user of this machine, in place of the two above */
    struct str hostname; /* ours */
    struct str id;
    struct str tag;  /* vouches for what comes back (gate/returned.h); empty: none */
    struct str rcpt; /* only when there is exactly one: others must not see each other */
    struct str tls_version, tls_cipher; /* empty: no TLS */
    bool esmtp, utf8, auth;
    int8_t priority; /* RFC 6710; 0: nothing is said */
    struct str date; /* RFC 5322 form */
};
/* Appends the field with its final CRLF; out->failed if there was no room. */
void received_write(struct buf *out, const struct received *);
/* "ESMTPSA" and its kin: RFC 3848, RFC 6531 4.3. */
const char *received_protocol(bool esmtp, bool utf8, bool tls, bool auth);

#endif
