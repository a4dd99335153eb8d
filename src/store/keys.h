/*
 * store/keys.h - DKIM keys of the domains that we sign for: the keeper's table, and the index of
 * their public side that every role may see.
 *
 * A key's way: `gapura domain dkim add` -> the keyring makes and seals it (store/signer.h) ->
 * keys_add() -> its record is looked up now and then (keys_found()) -> keys_law() says when it
 * signs and when a former one goes -> each change is published: sealed keys to the keyring, the
 * index to courier and gate.
 */
#ifndef GAPURA_STORE_KEYS_H
#define GAPURA_STORE_KEYS_H

#include "core/conf.h"
#include "store/keys_law.h"
#include "store/snapshot.h"

struct settings_dkim;
struct store;

#define KEYS_SELECTOR_MAX 63u
#define KEYS_PER_DOMAIN   16u        /* that are not retired */
#define KEYS_NO_TENANT    UINT32_MAX /* of a tenant that the settings do not have: signs nothing */

enum keys_alg { KEYS_RSA, KEYS_ED25519 }; /* the numbers of enum dkim_alg */
const char *keys_alg_name(uint8_t);       /* as k= says it: "rsa", "ed25519" */
enum keys_seen { KEYS_UNCHECKED, KEYS_PUBLISHED, KEYS_MISSING, KEYS_DIFFERENT };
const char *keys_seen_name(enum keys_seen);

struct keys_row {
    struct str domain, selector, tenant, public, sealed, reason;
    uint64_t number, created, since, seen, checked; /* Unix seconds */
    unsigned bits;
    uint8_t alg, state, found;
};
/* Domain in A-labels, lower case; ERR_SYNTAX. dst has 256 bytes. */
int keys_domain(struct str name, char *dst, struct str *ret);
bool keys_selector_ok(struct str);
/* What the sealed key belongs to (store/seal.h). */
void keys_about(struct buf *out, struct str domain, struct str selector, struct str tenant);

/* ERR_EXISTS: that selector is in use, or was: a record of another key may still be cached. */
int keys_add(struct store *, const struct keys_row *, struct why *);
/* Of a domain (empty: all), oldest first. Views are valid during the call. */
int keys_each(struct store *, struct str domain, int (*row)(void *ctx, const struct keys_row *),
              void *ctx);
/* A new state since now; KEYS_RETIRED erases the private key. ERR_NOTFOUND. */
int keys_change(struct store *, struct str domain, struct str selector, enum keys_state,
                uint64_t now, struct str reason, struct why *);
/* The record was looked up. */
int keys_found(struct store *, struct str domain, struct str selector, enum keys_seen,
               uint64_t now);
int keys_remove(struct store *, struct str domain, struct str selector, struct str reason,
                struct why *);

/* SNAPSHOT_KEY: the keyring's. Key: keys_about() without the tenant. */
struct keys_sealed {
    struct str tenant, sealed;
    uint8_t alg;
};
bool keys_sealed_find(const struct snapshot *, struct str domain, struct str selector,
                      struct keys_sealed *ret);
/* SNAPSHOT_SIGN: of courier and gate. */
struct keys_public {
    struct str selector;
    uint32_t tenant; /* its number, 0: the system, KEYS_NO_TENANT */
    uint8_t alg, state, found;
};
struct keys_set {
    struct keys_public items[KEYS_PER_DOMAIN];
    unsigned n;
};
bool keys_any(const struct snapshot *);
bool keys_find(const struct snapshot *, struct str domain, struct keys_set *ret);
/* A row that cannot be published is left out and told of. */
int keys_publish(struct store *, const struct conf *, struct snapshot_builder *, bool sealed,
                 void (*left_out)(void *ctx, const struct keys_row *, const char *why), void *ctx);

/* Which keys sign (store/keys_choose.c). Of the (first) author, as keys are named; empty if there
 * is no telling. */
struct str keys_author(struct str header, char dst[256]);
/* The nearest domain above it whose keys sign for those below (dkim.subdomains), or empty. */
struct str keys_above(const struct settings_dkim *, struct str domain);
enum keys_whose { KEYS_OWN, KEYS_PLATFORM }; /* the author's domain, or one above it */
struct keys_choice {
    struct str domain; /* views of author, settings and index */
    struct keys_public key;
    enum keys_whose whose;
};
#define KEYS_CHOSEN_MAX 4u
unsigned keys_choose(const struct snapshot *index, const struct settings_dkim *, struct str author,
                     uint32_t tenant, struct keys_choice ret[KEYS_CHOSEN_MAX]);
/* May no such mail go without the signature of all[i] (dkim.required)? */
bool keys_must(const struct settings_dkim *, const struct keys_choice *all, unsigned n, unsigned i);

/* "v=DKIM1; k=rsa; p=...": what stands at SELECTOR._domainkey.DOMAIN. */
void keys_record(const struct keys_row *, struct buf *out);
/* Does a TXT text say that key? KEYS_MISSING: it is no key record at all. */
enum keys_seen keys_record_compare(struct str text, const struct keys_row *);

#endif
