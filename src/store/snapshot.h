/*
 * store/snapshot.h - immutable maps in a sealed memfd: the keeper publishes, roles map read-only.
 *
 * Keys and values are bytes. Several tables live in one snapshot, told apart by a first byte of the
 * key (enum snapshot_table). Lookups copy nothing. Readers check every offset: a damaged snapshot
 * gives "not found", never a fault. Sizes: up to 2^32 - 1 bytes in all.
 */
#ifndef GAPURA_STORE_SNAPSHOT_H
#define GAPURA_STORE_SNAPSHOT_H

#include "core/buf.h"
#include "core/err.h"

enum snapshot_table {
    SNAPSHOT_DOMAIN = 'd',   /* domain -> "" ; served domains (settings hold the rest). "!": a
                                table of it cannot be read, unknown recipients get 451 */
    SNAPSHOT_RCPT = 'r',     /* address_key -> ""; see snapshot_address */
    SNAPSHOT_ALIAS = 'a',    /* address_key or "@domain" -> addresses, each NUL-terminated */
    SNAPSHOT_USER = 'u',     /* login -> encoded rights (store/users.h); no verifier */
    SNAPSHOT_VERIFIER = 'v', /* login -> SASL verifier text; only in the keyring's snapshot */
    SNAPSHOT_KEY = 'k',    /* sealed signing keys (store/keys.h); only in the keyring's snapshot */
    SNAPSHOT_SECRET = 't', /* name -> our own keys (store/secret.h); only in the gate's snapshot */
    SNAPSHOT_SIGN = 's',   /* domain -> the public side of its signing keys (store/keys.h) */
};

struct snapshot_builder;
struct snapshot_builder *snapshot_build(uint64_t generation);
/* Of two equal keys the first stays. ERR_LIMIT, ERR_NOMEM: then finish fails as well. */
int snapshot_add(struct snapshot_builder *, enum snapshot_table, struct str key, struct str value);
/* The value of a key added before, or false. */
bool snapshot_added(const struct snapshot_builder *, enum snapshot_table, struct str key,
                    struct str *ret);
/* Seals and returns a memfd (caller's), or -errno; frees the builder in either case. */
int snapshot_finish(struct snapshot_builder *);
void snapshot_abandon(struct snapshot_builder *);

struct snapshot {
    const uint8_t *base;
    size_t size;
    uint64_t generation;
};
int snapshot_map(struct snapshot *ret, int fd); /* takes fd; ERR_CORRUPT */
void snapshot_unmap(struct snapshot *);
bool snapshot_get(const struct snapshot *, enum snapshot_table, struct str key, struct str *ret);
/* For RCPT and ALIAS: the key as it is, then without ASCII case (tables are kept in lower case). */
bool snapshot_address(const struct snapshot *, enum snapshot_table, struct str key,
                      struct str *ret);

#endif
