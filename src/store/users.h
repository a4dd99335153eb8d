/*
 * store/users.h - logins and their rights; SQLite is the source of truth, opened by the keeper.
 */
#ifndef GAPURA_STORE_USERS_H
#define GAPURA_STORE_USERS_H

#include "core/conf.h"
#include "store/snapshot.h"

struct store; /* store/store.h: the open database */

#define LOGIN_MAX 255u
/* A login as it is stored and compared: ASCII letters lower-cased. dst has LOGIN_MAX + 1 bytes.
 * ERR_SYNTAX: empty, too long, not UTF-8, or with control characters. */
int login_fold(struct str login, char dst[LOGIN_MAX + 1], struct str *ret);

/* Rights of a login as the gate sees them (value of SNAPSHOT_USER). */
struct user_rights {
    uint32_t tenant;
    uint8_t class;       /* enum spool_class value */
    struct str envelope; /* NUL-terminated entries: address, domain, ".domain" or "*" */
    struct str from;
};
void user_rights_encode(struct buf *out, const struct user_rights *);
int user_rights_decode(struct str in, struct user_rights *ret);
/* May this login use that address (key form) in the envelope or the From field? Its own name and
 * the null sender always; letters' case does not matter. */
bool user_may_use(struct str entries, struct str address, struct str login);

#define PASSWORD_MAX 1024u
/* senders: entries separated by commas; empty: the login's own name only. ERR_EXISTS, ERR_SYNTAX.
 */
int users_add(struct store *, struct str login, struct str password, struct str tenant,
              struct str senders, uint32_t iterations, struct why *);
int users_password(struct store *, struct str login, struct str password, uint32_t iterations,
                   struct why *); /* ERR_NOTFOUND */
int users_remove(struct store *, struct str login, struct str reason, struct why *);
int users_list(struct store *,
               int (*row)(void *ctx, struct str login, struct str tenant, struct str senders,
                          uint64_t created),
               void *ctx);
/* Adds all to a snapshot: the rights of logins of store and settings (a `user` block's count), or
 * the verifiers if the snapshot is the keyring's. */
int users_publish(struct store *, const struct conf *, struct snapshot_builder *, bool verifiers);

#endif
