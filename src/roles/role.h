/*
 * roles/role.h - what every role's main has in common: the table of roles, and the runtime that
 * talks to the supervisor.
 *
 * A role starts with descriptor 3 as its channel to the supervisor and nothing else open. It is
 * told its settings, peers, event sink, metrics slot, control socket and listeners, and then to
 * start; from there its own main goes on. Its sandbox closes before it touches a stranger's byte.
 */
#ifndef GAPURA_ROLES_ROLE_H
#define GAPURA_ROLES_ROLE_H

#include "core/conf.h"
#include "ctl/ctl.h"
#include "net/chan.h"
#include "net/loop.h"
#include "roles/bundle.h"

enum role_id {
    ROLE_SUPERVISOR,
    ROLE_SPOOLER,
    ROLE_RESOLVER,
    ROLE_KEYRING,
    ROLE_KEEPER,
    ROLE_COURIER,
    ROLE_GATE,
    ROLE_DESK,
    ROLE_SCAN,
    ROLE_MAX_
};
#define ROLE_SUPERVISOR_FD 3

struct role;
struct role_ops {
    /* All was told: create the role's world. The sandbox closes when the role says so. */
    int (*start)(struct role *, struct why *);
    /* New settings (already parsed, role->conf is still the old): take them or say why not. */
    int (*settings)(struct role *, struct conf *now, struct why *);
    /* Does anything still use these former settings? Without it: nothing does once `settings` has
     * returned 0. */
    bool (*uses)(struct role *, const struct conf *);
    /* Told after new settings: true if only a start can take them in full (paths of the sandbox).
     * `stop` is called then, and the supervisor starts the role again. */
    bool (*outgrown)(struct role *);
    /* A peer's channel is there or was renewed. */
    void (*peer)(struct role *, enum role_id);
    void (*peer_lost)(struct role *, enum role_id);
    void (*message)(struct role *, enum role_id from, uint16_t type, uint64_t id, struct wire *body,
                    int fd); /* closes fd if it takes it not */
    void (*listen)(struct role *, struct str name, int fd);
    void (*unlisten)(struct role *, struct str name);
    void (*verb)(struct role *, struct ctl_call *, struct str verb, struct str args);
    void (*stop)(struct role *); /* finish, then role_exit(role) */
};
struct role_row {
    enum role_id id;
    const char *name;
    const struct role_ops *ops;
    uint8_t audience;    /* which files its bundle holds */
    const char *sandbox; /* name of its profile in roles/sandbox.c */
    uint32_t peers;      /* bit per role_id it has a channel to */
    const char *may;     /* one line for people: what it may do */
};
extern const struct role_row role_table[ROLE_MAX_];
const struct role_row *role_find(const char *name);
/* May `from` send `to` a message of this type? What the supervisor says is not in the table. */
bool role_may_say(enum role_id from, enum role_id to, uint16_t type);

struct role_peer {
    struct role *role;
    enum role_id id;
    uint16_t last_type; /* of a message */
    struct chan *chan;
};
struct role {
    const struct role_row *row;
    unsigned index;
    struct loop *loop;
    struct chan *supervisor;
    struct role_peer peers[ROLE_MAX_];
    int early[ROLE_MAX_]; /* peers told before the start: their channels open with it */
    struct bundle bundle;
    struct conf *conf;
    struct role_former { /* settings that sessions may still hold, newest first */
        struct conf *conf;
        struct bundle bundle;
        struct role_former *next;
    } * former, *refused;            /* refused: kept until the role has taken others */
    struct loop_timer forget, lines; /* lines: of events that wait to be written */
    struct ctl_server *control;
    bool starting, started, stopping;
    int master; /* the keyring's: file of the master key, or -1 */
    void *self; /* the role's own state */
    struct role_listen {
        struct str name;
        int fd;
        struct role_listen *next;
    } * listens; /* told before start */
};
/* From the start on there is a channel to every peer of the row, and it stays the same one; it is
 * not open while that role is not there. */
static inline struct chan *
role_chan(struct role *r, enum role_id id)
{
    return r->peers[id].chan;
}
static inline bool
role_has(struct role *r, enum role_id id)
{
    return r->peers[id].chan && chan_open(r->peers[id].chan);
}
/* links.file of gate and courier. */
struct str role_file(void *role, struct str path);
void role_ready(struct role *); /* TELL_READY */
/* Keeps a listener in role->listens; takes fd. */
void role_listen_later(struct role *, struct str name, int fd);
void role_exit(struct role *, int status);
int role_main(const struct role_row *, unsigned index); /* never returns but to exit */

extern const struct role_ops role_spooler_ops, role_resolver_ops, role_keyring_ops, role_keeper_ops,
    role_courier_ops, role_gate_ops, role_desk_ops, role_scan_ops;

#endif
