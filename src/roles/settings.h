/*
 * roles/settings.h - settings of the whole program: spool, events, resolver, control, and the list
 * of all blocks that the parser, the checker and the manual page read.
 */
#ifndef GAPURA_ROLES_SETTINGS_H
#define GAPURA_ROLES_SETTINGS_H

#include "core/conf.h"

struct settings_spool { /* block "spool" */
    struct str dir;
    uint64_t segment; /* bytes of a segment file */
    uint64_t quota;   /* bytes of all segments; 0: the disk decides */
    uint64_t min_free;
    uint64_t reserve; /* segments kept for outcomes */
    uint64_t ready;   /* pre-written segments at hand */
    uint64_t ring;    /* bytes of the memory ring of each writer */
    uint64_t max_batch;
    uint64_t slack; /* percent */
};
/* Most bytes of a batch under these settings: what a record must fit. */
uint64_t settings_spool_room(const struct settings_spool *);
enum events_to { EVENTS_FILE, EVENTS_SYSLOG, EVENTS_JOURNALD, EVENTS_STDERR, EVENTS_NONE };
struct settings_events { /* block "events" */
    int to;
    struct str file;
    uint64_t rotate_size;
    uint64_t keep; /* rotated files kept */
    int language;  /* enum lang */
};
struct settings_dns { /* block "dns" */
    struct conf_list forward;
    struct str trust_anchor;
    struct str local_data; /* PATH of unbound local-data lines */
    uint64_t timeout;
    uint64_t cache;
};
struct settings_control {    /* block "control" */
    struct str dir;          /* of the sockets */
    struct endpoint metrics; /* port 0: off */
    struct str store;        /* PATH of the SQLite store */
    uint64_t watchdog;       /* ns between two questions to a role; 0: none */
};

extern const struct conf_block *const roles_blocks[];
extern const size_t roles_nblocks;

#endif
