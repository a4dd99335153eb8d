/*
 * roles/places.c - opens what a start needs beside ports, in earnest or to see whether it could.
 *
 * Called by the supervisor, at its start and before a restart in its own place: one that failed
 * here would end a service that runs. Never reads what it opens.
 */
#include "roles/places.h"
#include "core/event.h"
#include "roles/dirs.h"
#include "roles/settings.h"
#include "store/settings.h"

int
places_open(struct places *ret, const struct plan *plan, const struct children *c,
            struct buf *story)
{
    struct why why = {{0}};

    *ret = (struct places){.sink.fd = -1, .master = -1};
    int rc = dirs_make_events(plan, c, &why);
    if (!rc)
        rc = sink_open(&ret->sink, plan, c->admin_gid, &why);
    if (rc && ret->sink.kind == EVENT_SINK_DATAGRAM) {
        /* A log daemon that is away keeps nobody from mail: sink_look() asks for it again. */
        ret->sink.fd = -1;
        why.text[0] = 0;
        rc = 0;
    }
    if (!rc)
        rc = dirs_make(plan, c, story);
    if (!rc && plan->wings != WINGS_INBOUND) /* nothing is signed, and there is no keyring */
        rc = dirs_master(plan, &ret->master, &why);
    buf_c(story, why.text);
    return rc;
}

int
places_try(const struct plan *next, const struct plan *now, const struct children *c,
           struct buf *story)
{
    struct places places;
    struct why why = {{0}};
    CLEANUP(fd_close) int lock = -1;
    int rc = 0;

    if (strcmp(next->control_dir, now->control_dir) != 0) /* that lock is ours */
        rc = dirs_lock(next, c, &lock, &why);
    buf_c(story, why.text);
    if (rc)
        return rc;
    rc = places_open(&places, next, c, story);
    sink_close(&places.sink);
    fd_close(&places.master);
    return rc;
}
