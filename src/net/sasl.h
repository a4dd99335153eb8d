/*
 * net/sasl.h - SASL mechanisms of both sides: PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 7677);
 * the server's side also SCRAM-SHA-256-PLUS, and OAUTHBEARER (RFC 7628) and XOAUTH2 passed on.
 *
 * Pure steps: messages in, messages out. The server's side runs in the keyring role, which alone
 * sees verifiers; the gate only passes bytes. The client's side runs in the smtp client.
 * Unknown users take the same time as known ones: the server makes up a steady salt for them.
 */
#ifndef GAPURA_NET_SASL_H
#define GAPURA_NET_SASL_H

#include "core/buf.h"
#include "core/err.h"

#define SCRAM_HASH 32u

/* What is stored of a password for SCRAM and for plain checks alike. */
struct sasl_verifier {
    uint8_t salt[16];
    uint32_t iterations; /* default 4096 or more */
    uint8_t stored_key[SCRAM_HASH];
    uint8_t server_key[SCRAM_HASH];
};
#define SASL_VERIFIER_TEXT 200
/* "SCRAM-SHA-256$4096:salt$stored:server" (base64), the form PostgreSQL and Dovecot know too. */
int sasl_verifier_make(struct str password, uint32_t iterations, struct sasl_verifier *ret);
void sasl_verifier_show(const struct sasl_verifier *, char dst[SASL_VERIFIER_TEXT]);
int sasl_verifier_parse(struct str text, struct sasl_verifier *ret);
bool sasl_verifier_check(const struct sasl_verifier *, struct str password); /* constant time */

enum sasl_result { SASL_OK, SASL_CHALLENGE, SASL_FAIL };

struct sasl_server;
/* Finds the verifier of a (normalised) user: 0, or ERR_NOTFOUND. */
typedef int sasl_lookup(void *ctx, struct str user, struct sasl_verifier *ret);
/* `secret`: 32 bytes of the process, for made-up salts. Mech unknown: NULL. */
struct sasl_server *sasl_server_create(struct str mech, sasl_lookup *, void *ctx,
                                       const uint8_t secret[32]);
void sasl_server_free(struct sasl_server *);
/* What ties a login to its TLS connection; empty: cannot be had of this one. */
#define SASL_BINDING_MAX 64u
struct sasl_binding {
    struct str exporter; /* tls-exporter, RFC 9266 */
    struct str endpoint; /* tls-server-end-point, RFC 5929 4 */
};
/* Before the first step; copied. `offered`: the client was shown SCRAM-SHA-256-PLUS, so one that
 * says it was not has been lied to on the way, and is refused (RFC 5802 6). */
void sasl_server_bind(struct sasl_server *, const struct sasl_binding *, bool offered);
/* First call: the initial response or .p == NULL. Out: the challenge, or final data with SASL_OK.
 */
enum sasl_result sasl_server_step(struct sasl_server *, struct str response, struct buf *out);
struct str sasl_server_user(const struct sasl_server *); /* after SASL_OK; also tried on FAIL */
/* PLAIN and LOGIN: name and password after the last response, for another verifier; with a NULL
 * lookup nothing is checked here and the last step says SASL_FAIL. OAUTHBEARER and XOAUTH2 always
 * end so: the password is the whole response, with the token in it; the name may be empty. */
bool sasl_server_credentials(const struct sasl_server *, struct str *ret_user,
                             struct str *ret_password);

/* What a mechanism says before it fails, as a challenge of its own (RFC 7628 3.2.2); else empty. */
struct str sasl_server_refusal(const struct sasl_server *);

struct sasl_client;
/* Picks the best of the server's list (SCRAM-SHA-256, PLAIN, LOGIN); NULL if none fits. `show`: the
 * password itself may be shown to the server, as PLAIN and LOGIN do. */
struct sasl_client *sasl_client_create(struct str offered, struct str user, struct str password,
                                       bool show);
void sasl_client_free(struct sasl_client *);
const char *sasl_client_mech(const struct sasl_client *);
/* `out` goes to the server unless SASL_FAIL; the first call, with challenge.p == NULL, gives the
 * initial response (nothing written: there is none). SASL_OK: the server proved itself (or need
 * not): only now does its success count. */
enum sasl_result sasl_client_step(struct sasl_client *, struct str challenge, struct buf *out);

#endif
