/*
 * roles/reload.h - new settings, taken by everybody or by nobody.
 *
 * One reload's way: the loader reads the file beside other work; new addresses are bound and the
 * new event sink is opened; the roles are given the settings and each says whether it took them;
 * then new listeners are handed out and removed ones closed. Whatever fails on the way, roles that
 * took the new settings are given the former ones again and nothing else has changed.
 */
#ifndef GAPURA_ROLES_RELOAD_H
#define GAPURA_ROLES_RELOAD_H

#include "roles/children.h"
#include "roles/listeners.h"
#include "roles/sink.h"

#define RELOAD_ASKERS 16u

struct reload {
    struct loop *loop;
    const char *file;
    struct plan **plan; /* in force; replaced by a reload that succeeds */
    struct listeners *listeners;
    struct children *children;
    struct sink *sink;
    /* Listeners of the supervisor's own that no block names, before they are bound. */
    void (*complete)(void *ctx, struct plan *);
    void (*added)(void *ctx, const char *name, int fd);
    void (*gone)(void *ctx, const char *name);
    void (*sink_changed)(void *ctx);
    void (*committed)(void *ctx);
    void (*over)(void *ctx); /* well or not, and no other one follows */
    void (*answer)(void *ctx, enum role_id to, uint64_t id, bool ok, struct str text);
    void *ctx;

    uint64_t generation; /* last one given out: none comes twice */
    bool running, again;
    struct reload_asker {
        enum role_id role;
        uint64_t id;
        bool next; /* asked while one ran: waits for the one after it */
    } askers[RELOAD_ASKERS];
    unsigned naskers;
    struct plan *next;
    struct listeners bound;
    struct sink opened;
    bool has_sink;
    uint32_t awaited; /* bit per role that has not said yet */
    struct loop_timer late;
};

void reload_init(struct reload *); /* after the fields above are set */
/* Begins one, or has one begin after that which runs. role ROLE_SUPERVISOR: nobody is answered. */
void reload_ask(struct reload *, enum role_id, uint64_t id);
/* TELL_TAKEN of a role; the end of a role. */
void reload_taken(struct reload *, struct child *, struct wire *body);
void reload_lost(struct reload *, struct child *);

#endif
