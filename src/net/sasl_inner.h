/*
 * net/sasl_inner.h - what the files of sasl share: the hashes of SCRAM (RFC 5802 2.2) and the small
 * grammar of its messages. Tests include it to fix the nonces; nobody else does.
 */
#ifndef GAPURA_NET_SASL_INNER_H
#define GAPURA_NET_SASL_INNER_H

#include "net/sasl.h"

#define SASL_ITERATIONS      4096u    /* RFC 7677 4: the least that is announced */
#define SASL_ITERATIONS_MAX  1000000u /* of stored verifiers */
#define SASL_ITERATIONS_PEER 200000u  /* what a server may cost us: 60 ms */
#define SASL_USER_MAX        255u
#define SASL_PASSWORD_MAX    1024u
#define SASL_MESSAGE_MAX     4096u
#define SASL_NONCE_TEXT      32u

bool sasl_hmac(const void *key, size_t key_n, struct str data, uint8_t ret[SCRAM_HASH]);
bool sasl_hash(const void *p, size_t n, uint8_t ret[SCRAM_HASH]);
/* Hi() = PBKDF2 of the password. */
bool sasl_salted(struct str password, struct str salt, uint32_t iterations,
                 uint8_t ret[SCRAM_HASH]);
bool sasl_nonce(char ret[SASL_NONCE_TEXT]);             /* printable, NUL behind it */
bool sasl_same(const void *a, const void *b, size_t n); /* constant time */
/* SaltedPassword -> ClientKey, StoredKey and ServerKey. */
bool sasl_keys(const uint8_t salted[SCRAM_HASH], uint8_t ret_client[SCRAM_HASH],
               uint8_t ret_stored[SCRAM_HASH], uint8_t ret_server[SCRAM_HASH]);

/* Next "name=value" of a comma list: false if it is not there under that name. */
bool scram_attr(struct str *rest, char name, struct str *ret_value);
bool sasl_name_ok(struct str user); /* UTF-8 without controls, 1..SASL_USER_MAX bytes */

/* For tests: the random parts. */
void sasl_client_set_nonce(struct sasl_client *c, const char *nonce);
void sasl_server_set_nonce(struct sasl_server *s, const char *nonce);

#endif
