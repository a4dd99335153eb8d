/*
 * store/seal.h - secrets of the store under the master key: AES-256-GCM.
 *
 * The keyring alone holds the master key; the keeper stores what it sealed. What a secret belongs
 * to is authenticated with it, so that a sealed text moved to another row opens nowhere.
 */
#ifndef GAPURA_STORE_SEAL_H
#define GAPURA_STORE_SEAL_H

#include "core/buf.h"
#include "core/err.h"

#define SEAL_KEY_BYTES   32u
#define SEAL_MASTER_TEXT 80u /* a master key's line with its final NUL */
#define SEAL_CLEAR_MAX   (64u << 10)

struct seal_master {
    uint8_t key[SEAL_KEY_BYTES];
    uint8_t id[8]; /* of this key, in each sealed text */
};
/* A fresh master key as the line of its file. 0 or ERR_STATE: no randomness. */
int seal_master_make(char dst[SEAL_MASTER_TEXT]);
/* The file's text; ERR_SYNTAX if it is anything else. */
int seal_master_parse(struct str text, struct seal_master *ret);
void seal_master_wipe(struct seal_master *);

/* Appends the sealed form. about: what it belongs to; the same bytes open it. */
int seal_close(const struct seal_master *, struct str about, struct str clear, struct buf *out);
/* Appends the clear form. ERR_REFUSED: sealed under another master key; ERR_CORRUPT: changed, or of
 * something else. The caller wipes. */
int seal_open(const struct seal_master *, struct str about, struct str sealed, struct buf *out);
/* Zeroes and frees. */
void seal_wipe(struct buf *);

#endif
