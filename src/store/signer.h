/*
 * store/signer.h - the keyring's signing half: opens sealed keys, signs digests, makes new keys.
 *
 * One signature's way: the courier sends ASK_SIGN with the digests of one message -> each key is
 * found in the keyring's snapshot, is it this tenant's? -> opened once and remembered -> a thread
 * signs -> ASK_SIGN_ANSWER. What a key is, the crypto table knows: this floor has no DKIM.
 */
#ifndef GAPURA_STORE_SIGNER_H
#define GAPURA_STORE_SIGNER_H

#include "core/conf.h"
#include "net/chan.h"
#include "store/seal.h"
#include "store/snapshot.h"

/* All but load() and free_key() may be called in a thread, each with a key of its own. */
struct signer_crypto {
    int (*make)(uint8_t alg, unsigned bits, void **ret);
    int (*load)(struct str text, void **ret, struct str *ret_why);
    int (*clone)(const void *key, void **ret);
    void (*free_key)(void *key);
    uint8_t (*alg)(const void *key); /* enum keys_alg */
    unsigned (*bits)(const void *key);
    int (*text)(const void *key, struct buf *out); /* in the clear: to be sealed */
    ssize_t (*public)(const void *key, char *dst, size_t cap);
    ssize_t (*sign)(void *key, uint8_t alg, const uint8_t *digest, size_t n, uint8_t *dst,
                    size_t cap);
};

struct signer;
struct signer_links {
    struct loop *loop;
    const struct signer_crypto *crypto;
    const struct seal_master *master; /* NULL: no file of it could be used; copied */
};
/* conf is borrowed until signer_set_conf or signer_free. NULL without memory. */
struct signer *signer_create(const struct signer_links *, const struct conf *);
void signer_free(struct signer *);
void signer_set_conf(struct signer *, const struct conf *);
/* The keyring's snapshot (a mapping of the signer's own): takes fd. ERR_CORRUPT: the former stays.
 */
int signer_set_snapshot(struct signer *, int fd);
/* ASK_SIGN, ASK_KEY_MAKE: true if the type was ours. */
bool signer_message(struct signer *, struct chan *from, uint16_t type, uint64_t id,
                    struct wire *body);
/* No answer goes there any more. */
void signer_lost(struct signer *, struct chan *from);

#endif
