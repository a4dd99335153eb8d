/*
 * auth/dkim_message.h - one message as DKIM and ARC read it: header index and body hashes.
 *
 * Shared by verifier, ARC validator and signers of the same message, so that the body is read once
 * for all of them. Made once per session and used again. Order: headers, everybody's prepare, body,
 * end.
 */
#ifndef GAPURA_AUTH_DKIM_MESSAGE_H
#define GAPURA_AUTH_DKIM_MESSAGE_H

#include "auth/dkim_canon.h"
#include "auth/dkim_header.h"

struct dkim_message {
    struct dkim_headers headers;
    struct dkim_body body;
    struct dkim_hash hash; /* of header fields, one after the other */
};
struct dkim_message *dkim_message_create(void); /* NULL without memory */
void dkim_message_free(struct dkim_message *);
/* Begins a message: its header block (CRLF lines, with or without the blank line), which must stay
 * where it is until the results have been read. 0 or ERR_NOMEM. */
int dkim_message_headers(struct dkim_message *, struct str block, const struct dkim_limits *);
/* The body behind the blank line, with CRLF line ends, in any pieces. */
void dkim_message_body(struct dkim_message *, const char *p, size_t n);
void dkim_message_end(struct dkim_message *);

/* Begins the hash of header fields; NULL if the library refuses. */
struct dkim_hash *dkim_message_hash(struct dkim_message *, bool sha1);
/* Bytes of the digest (at most DKIM_HASH_MAX), 0 if the library failed. */
size_t dkim_message_digest(struct dkim_message *, uint8_t ret[DKIM_HASH_MAX]);
/* Puts the fields that the list (h=) names into the hash, from the bottom of the header. */
void dkim_message_hash_list(struct dkim_message *, struct str list, enum dkim_canon);

#endif
