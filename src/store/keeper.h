/*
 * store/keeper.h - the keeper's work without its role: the store, snapshots, look-ups, user verbs.
 *
 * One change's way: a verb, new settings or a table file that changed -> the store or the sources
 * -> a moment later snapshots are built (for gate and courier, without secrets; for the keyring,
 * with verifiers and sealed keys) -> links.publish hands them to the roles.
 */
#ifndef GAPURA_STORE_KEEPER_H
#define GAPURA_STORE_KEEPER_H

#include "core/conf.h"
#include "net/chan.h"
#include "net/dns.h"

enum keeper_view {
    KEEPER_VIEW_ROLES,   /* the gate's */
    KEEPER_VIEW_KEYRING, /* verifiers and sealed keys */
    KEEPER_VIEW_COURIER, /* the public side of signing keys */
    KEEPER_VIEWS_
};

struct keeper;
struct keeper_links {
    struct loop *loop;
    const char *store_path; /* settings_control.store */
    struct chan *keyring;   /* makes signing keys; may be NULL */
    struct dns_client *dns; /* looks their records up; may be NULL */
    /* A new snapshot; fd stays the keeper's (chan_send duplicates it). Called in the loop, first
     * after keeper_create has returned. */
    void (*publish)(void *ctx, enum keeper_view view, uint64_t generation, int fd);
    /* What an operator must know: what happened, what stays safe, what to do. */
    void (*problem)(void *ctx, const char *text);
    /* What went as it should, and wants to be known; may be NULL. */
    void (*notice)(void *ctx, const char *text);
    /* Bytes of a file that this role may not open itself; may be NULL. */
    struct str (*file)(void *ctx, struct str path);
    void *ctx;
};
/* Starts its threads: to be called before a sandbox that forbids that. conf is borrowed until
 * keeper_set_conf or keeper_free. */
int keeper_create(struct keeper **ret, const struct keeper_links *, const struct conf *,
                  struct why *);
void keeper_free(struct keeper *);
int keeper_set_conf(struct keeper *, const struct conf *, struct why *);
/* The last snapshot of that view for a role that was (re)started: fd (the keeper's) or -1. */
int keeper_snapshot(const struct keeper *, enum keeper_view, uint64_t *ret_generation);
/* ASK_LOOKUP, ASK_PASSWORD, ASK_KEY_ANSWER: true if the type was ours. Answers go to `from`, now or
 * later. */
bool keeper_message(struct keeper *, struct chan *from, uint16_t type, uint64_t id,
                    struct wire *body);
/* ASK_KEEP of the scan role, and of nobody else: takes fd, answers at once. */
void keeper_report(struct keeper *, struct chan *from, uint64_t id, int fd);
/* To be called before `from` is freed: no answer goes there any more. */
void keeper_lost(struct keeper *, struct chan *from);

/* Control verbs, as courier_verb: user.add user.password user.remove user.list, domain.dkim.*,
 * report.*; false if the verb is not ours. args is a JSON object's text. The end may come later. */
struct keeper_reply {
    void (*line)(void *ctx, struct str json);
    void (*end)(void *ctx, int status, const char *text);
    void *ctx;
};
bool keeper_verb(struct keeper *, struct str verb, struct str args, const struct keeper_reply *);
/* Does the verb change anything? Who asked for a change is told when it is in use. */
bool keeper_verb_changes(struct str verb);
struct store;
struct store *keeper_store(struct keeper *); /* to be read */

#endif
