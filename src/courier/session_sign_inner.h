/*
 * courier/session_sign_inner.h - what the files of signing share. Others use session_sign.h.
 */
#ifndef GAPURA_COURIER_SESSION_SIGN_INNER_H
#define GAPURA_COURIER_SESSION_SIGN_INNER_H

#include "auth/dkim_sign.h"
#include "core/map.h"
#include "courier/session_sign.h"
#include "store/asks.h"
#include "store/keys.h"

#define SIGN_NAMES_MAX 1536u

struct sign_key {
    char domain[256], selector[KEYS_SELECTOR_MAX + 1];
    uint8_t alg;
    bool must;  /* the message does not go without it */
    bool seals; /* it is asked for an ARC set */
};

enum sign_state { SIGN_QUEUED, SIGN_READING, SIGN_ASKED, SIGN_SETTLED };

struct sign_reader { /* of a message that is not in one piece */
    struct dkim_message *message;
    struct letter letter;
    struct body body;
    struct buf head;
    bool in_body;
    struct loop_call turn;
};

struct sign_work { /* until it has settled */
    uint32_t tenant;
    struct sign_key keys[SIGN_MAX];
    unsigned nkeys;
    struct dkim_draft drafts[SIGN_MAX];
    unsigned ndrafts;
    char asked[SIGN_NAMES_MAX], signed_by[SIGN_NAMES_MAX]; /* names of keys */
};

struct sign_entry {
    struct courier *c;
    struct sign_name { /* without holes: it is a key's bytes */
        uint64_t seq;
        uint32_t epoch, zero;
    } name;
    enum sign_state state;
    uint32_t message;       /* pinned while it is read */
    struct sign_work *work; /* NULL once it has settled */
    uint64_t ask, until;
    struct session *waiters;
    struct sign_reader *reader;
    struct buf front;
    char *asked, *signed_by; /* of what has settled */
    uint8_t wait;            /* of what has not: enum sign_wait, and for how long */
    uint64_t gap;
    int err;                          /* it cannot be read */
    struct sign_seal *seal;           /* NULL: signatures, no seal */
    const char *why;                  /* it cannot be signed */
    struct sign_entry *older, *newer; /* of the settled ones; else newer: the queue's next */
};

struct signing {
    struct chan_asks *asks;
    struct map entries;
    struct sign_entry *oldest, *newest;    /* settled */
    struct sign_entry *queue, **queue_end; /* that wait to be read */
    unsigned nreaders;
    struct dkim_message *message; /* for those in one piece */
    struct loop_call turn;        /* the queue's */
    uint64_t complained, failing; /* mono ns; failing: since when the keyring is away, or 0 */
    uint64_t no_index_told, no_seal_told;
    struct map troubles; /* keys that cannot sign: session_sign_keys.c */
    uint64_t alarms_since;
    unsigned alarms;
};

/* session_sign.c */
const struct settings_dkim *sign_settings(const struct courier *);
void sign_entry_free(struct sign_entry *);
/* What has settled is of use for later recipients and attempts. why: it cannot be signed, or NULL.
 */
void sign_entry_settle(struct sign_entry *, const char *why);
/* Tells all who wait. The entry stays if it settled, else the next one begins anew. */
void sign_entry_tell(struct sign_entry *, enum sign_answer);
/* The keyring does not answer: what must be signed waits, other mail only for a while. */
enum sign_answer sign_cannot(struct sign_entry *);
struct sign_entry *sign_entry_create(struct courier *, const struct sign_name *,
                                     const struct sign_work *);
void sign_entry_queue(struct sign_entry *, uint32_t message);
enum sign_answer sign_entry_give(const struct sign_entry *, struct session *);
enum sign_answer sign_wait_for(struct sign_entry *, struct session *);
enum sign_answer sign_hold(struct session *, enum sign_wait, uint64_t gap);
/* session_sign_seal.c: another kind of what is put in front; a successor of ARC would be the next.
 */
bool sign_seals(const struct courier *, const struct spool_envelope *);
enum sign_answer sign_seal_want(struct session *, const struct sign_name *);
int sign_seal_head(struct sign_entry *, struct dkim_message *); /* before the body */
/* The message is hashed; a signature came. 0: it has settled, or the keyring was asked
 * (SIGN_ASKED); ERR_CLOSED. */
int sign_seal_hashed(struct sign_entry *);
int sign_seal_made(struct sign_entry *, struct str signature);
void sign_seal_free(struct sign_entry *);
/* session_sign_keys.c: which keys, and what is known of those that cannot sign now. */
#define SIGN_TROUBLES_MAX 4096u
#define SIGN_GRACE        (10 * NS_PER_S) /* what may mend itself is waited for, whatever is required */
uint64_t sign_gap(uint64_t failing);
/* Fills keys and asked. Not 0: one of them must sign and cannot; ns until it is asked again. */
uint64_t sign_choose(struct courier *, struct sign_work *, struct str from, uint32_t tenant);
/* The keyring's word (enum sign_status, not DONE or BUSY): true if the message waits. */
bool sign_key_fails(struct courier *, uint32_t tenant, const struct sign_key *, uint8_t status);
/* It failed a moment ago: gap is for how long mail waits, or 0: it goes without. */
bool sign_key_rests(struct courier *, const struct sign_key *, uint64_t *ret_gap);
void sign_key_works(struct courier *, uint32_t tenant, const struct sign_key *);
void sign_troubles_done(struct signing *);
/* session_sign_hash.c */
/* The whole message is in one piece. 0: the keyring was asked; ERR_CLOSED: nobody can be asked now;
 * else it cannot be signed. */
int sign_hash_piece(struct sign_entry *, struct str text);
int sign_keyring_ask(struct sign_entry *); /* 0, ERR_CLOSED: nobody can be asked now */
struct str sign_reader_head(const struct sign_reader *); /* the header block */
void sign_reader_free(struct sign_entry *);
void sign_queue_run(void *courier); /* large messages that wait to be read */

#endif
