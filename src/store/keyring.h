/*
 * store/keyring.h - who logs in: SASL exchanges of all gates against the verifiers.
 *
 * One exchange's way: a gate sends ASK_AUTH_START -> an exchange keyed by (channel, session) with
 * the server's side of net/sasl.h -> its step runs here (SCRAM) or in a worker thread (PLAIN and
 * LOGIN: PBKDF2) -> with `passwords = dovecot` the keeper is asked (ASK_PASSWORD), since this role
 * has no network -> ASK_AUTH_ANSWER. The role owns loop, channels and sandbox.
 */
#ifndef GAPURA_STORE_KEYRING_H
#define GAPURA_STORE_KEYRING_H

#include "core/conf.h"
#include "net/chan.h"

struct keyring;
struct keyring_links {
    struct loop *loop;
    struct chan *keeper; /* may be NULL: then Dovecot cannot be asked */
};
/* Starts its threads: to be called before a sandbox that forbids that. conf is borrowed until
 * keyring_set_conf or keyring_free. */
int keyring_create(struct keyring **ret, const struct keyring_links *, const struct conf *,
                   struct why *);
void keyring_free(struct keyring *);
void keyring_set_conf(struct keyring *, const struct conf *);
void keyring_set_keeper(struct keyring *, struct chan *keeper);
/* Takes fd: the snapshot with verifiers (TELL_SNAPSHOT). On ERR_CORRUPT the former one stays. */
int keyring_set_snapshot(struct keyring *, int fd);
/* ASK_AUTH_* and ASK_PASSWORD_ANSWER: true if the type was one of ours. */
bool keyring_message(struct keyring *, struct chan *from, uint16_t type, uint64_t id,
                     struct wire *body);
/* That role is gone: its exchanges end, or what it was asked fails softly. */
void keyring_lost(struct keyring *, struct chan *from);
unsigned keyring_exchanges(const struct keyring *);

#endif
