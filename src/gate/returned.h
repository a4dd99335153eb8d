/*
 * gate/returned.h - is a report about mail that its recipient did send through us?
 *
 * What is submitted carries a tag in our Received field: the hour, and a keyed digest of it, of the
 * message's id and of the envelope sender. A report brings the field back. Its body comes here in
 * any pieces (push); a tag that is whole, young enough and made for the recipient of the report
 * vouches for it. Whoever has not seen a message of that sender cannot make one; whoever has can
 * write to that sender for as long as the setting `verify.returns` says, and to nobody else.
 *
 * The keys come from the keeper (store/secret.h), two of them, so that they can be changed.
 */
#ifndef GAPURA_GATE_RETURNED_H
#define GAPURA_GATE_RETURNED_H

#include "mail/address.h"
#include "spool/id.h"
#include "store/secret.h"

#define RETURNED_TAG 21u /* bytes of a tag, with its NUL */

struct evp_mac_ctx_st;
struct returned_keys { /* zeroed: none */
    struct evp_mac_ctx_st *mac[SECRET_KEPT];
    unsigned n;
};
struct snapshot;
void returned_keys_set(struct returned_keys *, const struct snapshot *); /* NULL: none */
void returned_keys_done(struct returned_keys *);

/* The tag of a message by the newest key; false: there is none. sender: address_key(). */
bool returned_tag(const struct returned_keys *, const struct spool_id *, struct str sender,
                  uint64_t now_s, char dst[RETURNED_TAG]);

struct returned {
    const struct returned_keys *keys; /* NULL: nothing is looked for */
    struct str hostname;              /* ours */
    uint64_t now_s, life_s;
    struct spool_id id; /* of our field, if it was seen in this line or the one before */
    bool found, skip;   /* skip: a longer line than is kept */
    uint8_t near, tries;
    uint16_t n, nto;
    char to[ADDRESS_MAX + 1]; /* the recipient's address_key() */
    char line[512];
};
/* keys and hostname stay where they are. */
void returned_begin(struct returned *, const struct returned_keys *, struct str hostname,
                    struct str to, uint64_t now_s, uint64_t life_s);
void returned_feed(struct returned *, const char *p, size_t n);

#endif
