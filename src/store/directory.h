/*
 * store/directory.h - questions to directories of others: LDAP and SQLite look-ups in threads,
 * passwords at a Dovecot server.
 *
 * Called by the keeper alone. Each question ends with one call of fn, in the loop's thread and
 * never before the asking call has returned.
 */
#ifndef GAPURA_STORE_DIRECTORY_H
#define GAPURA_STORE_DIRECTORY_H

#include "net/loop.h"
#include "store/asks.h"
#include "store/settings.h"
#include "store/worker.h"

#define LOOKUP_ADDRESSES 64u /* that one recipient may become */

/* One look-up: filled before the thread gets it, answered by it. */
struct lookup {
    struct worker_job job;
    struct arena arena;
    int kind; /* enum settings_recipients: SQLITE or LDAP */
    struct str place, query, bind, password;
    struct str address, local, domain; /* the key and its halves */
    /* the answer */
    enum lookup_result result;
    struct str to[LOOKUP_ADDRESSES];
    unsigned nto;
    char problem[200]; /* why it is TEMPORARY */
    void *ctx;
};
/* Threads with their own connections. */
extern const struct worker_thread_ops directory_threads;
/* Prepares job.run; the caller sets job.done and submits. NULL: no memory. */
struct lookup *directory_lookup_create(const struct settings_domain *, struct str domain,
                                       struct str address, struct str password);
void directory_lookup_free(struct lookup *);
/* A thread's connections. ldap.c, sqlite_lookup.c */
struct ldap_cache;
struct ldap_cache *ldap_cache_create(void);
void ldap_cache_free(struct ldap_cache *);
void ldap_lookup(struct ldap_cache *, struct lookup *);
void sqlite_lookup(struct lookup *);
/* An address of the answer; too many are dropped with a problem noted. */
void directory_lookup_add(struct lookup *, struct str address);
void directory_lookup_failed(struct lookup *, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The filter with %s (address), %u (local part), %d (domain), %% put in, escaped by RFC 4515 3. */
void ldap_filter(struct buf *out, const struct lookup *);

/* Dovecot's auth client protocol (version 1.1 and later): passwords and bearer tokens. */
struct dovecot;
struct dovecot *dovecot_create(struct loop *, const char *path);
void dovecot_free(struct dovecot *); /* open questions end without a call */
const char *dovecot_path(const struct dovecot *);
/* mech: PLAIN; or OAUTHBEARER, XOAUTH2 with the client's response as password. result: OK, FAIL or
 * TEMP; user: as Dovecot knows it. Returns 0 or ERR_LIMIT. */
int dovecot_check(struct dovecot *, struct str mech, struct str user, struct str password,
                  void (*fn)(void *ctx, enum auth_answer result, struct str user), void *ctx);
const char *dovecot_problem(const struct dovecot *); /* of the last failure, or "" */

#endif
