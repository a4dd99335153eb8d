/*
 * gate/links.h - what the role hands in: the gate's only ways to the world.
 */
#ifndef GAPURA_GATE_LINKS_H
#define GAPURA_GATE_LINKS_H

#include "core/conf.h"
#include "net/chan.h"
#include "net/dns.h"
#include "net/stream.h"
#include "net/tls.h"
#include "policy/stage.h"
#include "spool/writer.h"
#include "store/snapshot.h"

#define GATE_TRACERS 8u /* `gapura trace` at once */

struct gate_links {
    struct loop *loop;
    struct spool_writer *writer;
    struct dns_client *dns; /* may be NULL: no look-ups */
    struct chan *keyring;   /* may be NULL: AUTH is not offered */
    struct chan *keeper;    /* may be NULL */
    struct chan *courier;   /* may be NULL: no callouts */
    /* Bytes of a file named in the settings, loaded before the sandbox; empty view if none. */
    struct str (*file)(void *ctx, struct str path);
    void *file_ctx;
    unsigned index; /* of this gate */
    /* The table of checks (checks/table.h): the gate runs rows and knows none of them. */
    const struct check *const *checks;
    size_t nchecks;
};

#endif
