/*
 * store/keeper_inner.h - what the keeper's files share with each other. Others use keeper.h.
 */
#ifndef GAPURA_STORE_KEEPER_INNER_H
#define GAPURA_STORE_KEEPER_INNER_H

#include <jansson.h>

#include "store/asks.h"
#include "store/directory.h"
#include "store/keeper.h"
#include "store/seal.h"
#include "store/settings.h"
#include "store/sources.h"
#include "store/store.h"

struct keeper {
    struct keeper_links links;
    const struct conf *conf;
    struct store *store;
    struct sources *sources;
    struct watch *watch;
    struct worker *worker;
    struct dovecot *dovecot; /* NULL until asked for */
    struct keeper_ask *asks; /* questions that wait for a directory */
    unsigned nasks;
    struct loop_call publish;
    struct loop_timer renewal; /* of our own keys */
    struct loop_timer again;   /* publishes what could not be */
    uint64_t publish_told;     /* mono ns; 0: the last time it could */
    struct {
        int fd;
        uint64_t generation;
    } views[KEEPER_VIEWS_];
    uint64_t problem_at; /* of the last one told about directories */
    unsigned left_out;   /* rows of keys that could not be published last time */
    uint64_t left_out_at;
    struct keeper_keys *keys;
    struct chan_asks *key_asks;
    struct domain_call *domain_calls; /* verbs that wait for the keyring */
    struct keeper_reports *reports;
};

void keeper_problem(struct keeper *, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Snapshots are built once the present callback is over. */
void keeper_publish_soon(struct keeper *);
void keeper_asks_drop(struct keeper *); /* keeper_ask.c: at the end of the worker */

/* keeper_keys.c: the life of signing keys. */
int keeper_keys_create(struct keeper *);
void keeper_keys_free(struct keeper *);
void keeper_keys_conf(struct keeper *);
/* The law over all keys of that domain, now; publishes what it changed. */
void keeper_keys_run(struct keeper *, struct str domain);
const struct settings_dkim *keeper_dkim(const struct keeper *); /* never NULL */
/* keeper_domain.c: verbs domain.dkim.*. */
struct verb_call {
    struct keeper *keeper;
    const struct keeper_reply *reply;
    json_t *args;
    unsigned n;
};
struct str verb_arg(const struct verb_call *, const char *name);
void verb_end(const struct verb_call *, int status, const char *text);
struct keeper_verb_row {
    const char *name;
    void (*run)(struct verb_call *);
    bool reads; /* changes nothing */
};
extern const struct keeper_verb_row domain_verbs[];
extern const size_t domain_nverbs;
int keeper_domain_create(struct keeper *);
void keeper_domain_free(struct keeper *);
void keeper_domain_answer(struct keeper *, uint64_t id, struct wire *body); /* ASK_KEY_ANSWER */
void keeper_domain_lost(struct keeper *); /* the keyring is gone */

/* keeper_report.c, keeper_report_verb.c: received reports. */
extern const struct keeper_verb_row report_verbs[];
extern const size_t report_nverbs;
int keeper_reports_create(struct keeper *);
void keeper_reports_free(struct keeper *);
void keeper_reports_lost(struct keeper *, const struct chan *from);

#endif
