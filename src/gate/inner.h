/*
 * gate/inner.h - the gate itself, for the files of this folder only.
 */
#ifndef GAPURA_GATE_INNER_H
#define GAPURA_GATE_INNER_H

#include "gate/body.h"
#include "gate/limits.h"
#include "gate/lookup.h"
#include "gate/returned.h"
#include "gate/setup.h"
#include "spool/admission.h"

struct chunk_void;
struct session;
struct tx;

struct gate_listener {
    struct gate *gate;
    struct gate_listener *next;
    struct listener *listener;
    char name[64];
    unsigned sessions;
};

struct gate {
    struct gate_links links;
    struct setup *setup;
    const struct snapshot *snapshot;
    struct returned_keys returns; /* out of it */
    struct gate_listener *listeners;
    struct session *sessions;
    unsigned nsessions;
    unsigned nghosts;     /* sessions that are gone but for a message being written */
    uint64_t full_told;   /* mono ns: when the operator was told that all are taken */
    unsigned turned_away; /* connections since then, for that reason */
    uint64_t proxy_told;  /* mono ns: likewise, that a balancer sent no PROXY header */
    uint64_t session_count;
    struct limits limits;
    struct limits accounts; /* users and tenants: many addresses push none of them out */
    struct lookup *lookup;
    struct chan_asks *keyring_asks;
    struct block_pool blocks;
    struct tx *tx_free;
    unsigned ntx, ntx_free;   /* all that are out; in the free-list */
    struct chunk_void *voids; /* ids still to be voided: the log had no room */
    unsigned voids_under_way;
    struct loop_timer voids_timer;
    uint32_t node, epoch;
    uint64_t auth_count;

    /* Admission: numbers of others, and ours taken at most every few milliseconds. */
    struct admission_input load;
    uint64_t load_at;

    char date[40];
    uint64_t date_s;

    struct gate_tracer {
        struct prefix from;
        void (*fn)(void *ctx, struct str json_line);
        void *ctx;
    } tracers[GATE_TRACERS];
    unsigned ntracers;

    bool stopping;
    struct loop_timer grace;
    struct loop_call stopped_call;
    void (*stopped)(void *ctx);
    void *stopped_ctx;
};

/* "Mon, 23 Nov 2026 06:44:24 +0000" of now, made once a second. */
struct str gate_date(struct gate *, uint64_t wall_s);
/* The law's answer for that class and size now. */
struct admission_result gate_admission(struct gate *, enum admission_class, uint64_t bytes);
void gate_session_gone(struct gate *); /* after a session or a message went */

#endif
