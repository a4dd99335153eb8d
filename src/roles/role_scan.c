/*
 * roles/role_scan.c - the reader of strangers' content; so far of the reports in their mail.
 *
 * Has no file, no network, no key and no log: mail comes in sealed memory, what is in it goes to
 * the keeper the same way.
 */
#include <jansson.h>

#include "core/event.h"
#include "mail/charset.h"
#include "roles/role.h"
#include "roles/sandbox.h"
#include "scan/scan.h"

static int
scan_start(struct role *r, struct why *why)
{
    struct scan_links links = {.loop = r->loop,
                               .courier = role_chan(r, ROLE_COURIER),
                               .keeper = role_chan(r, ROLE_KEEPER)};
    struct scan *s = NULL;
    int rc = scan_create(&s, &links, r->conf);
    r->self = s;
    charset_preload();   /* libc's converters are files */
    json_object_seed(0); /* and so is where it takes chance from */
    if (!rc)
        rc = sandbox_enter(r->row->sandbox, NULL, 0, why);
    if (!rc)
        role_ready(r);
    return rc;
}

static void
scan_role_message(struct role *r, enum role_id from, uint16_t type, uint64_t id, struct wire *body,
                  int fd)
{
    if (r->self && from != ROLE_SUPERVISOR && scan_message(r->self, type, id, body, fd))
        return;
    fd_close(&fd);
    event_warning("unknown message %#x from %s", type, role_table[from].name);
}

static void
scan_peer_lost(struct role *r, enum role_id id)
{
    if (id == ROLE_KEEPER)
        scan_keeper_lost(r->self);
}

static int
scan_settings(struct role *r, struct conf *now, struct why *why)
{
    (void)why;
    scan_set_conf(r->self, now);
    return 0;
}

static void
scan_stop(struct role *r)
{
    scan_free(r->self);
    role_exit(r, 0);
}

const struct role_ops role_scan_ops = {
    .start = scan_start,
    .settings = scan_settings,
    .peer_lost = scan_peer_lost,
    .message = scan_role_message,
    .stop = scan_stop,
};
