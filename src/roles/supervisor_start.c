/*
 * roles/supervisor_start.c - what the supervisor has before its first turn: settings, the lock,
 * listening sockets, places, the roles' processes.
 *
 * Called once, by supervisor.c. What is taken from nobody comes first; an error leaves everything
 * to the end of the process.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/event.h"
#include "core/metric.h"
#include "roles/dirs.h"
#include "roles/places.h"
#include "roles/supervisor_inner.h"
#include "store/settings.h"

#define AGAIN_PAUSE (2 * NS_PER_S) /* of settings that went bad during a restart */

/* The metrics page is a listener that no block names; its address holds until the next start. */
void
supervisor_add_metrics(void *ctx, struct plan *p)
{
    struct supervisor *s = ctx;
    p->admin_gid = s->children.admin_gid;
    if (!s->metrics.port || p->nlistens == PLAN_LISTENS)
        return;
    struct plan_listen *l = &p->listens[p->nlistens++];
    str_fmt(l->name, sizeof l->name, "metrics");
    l->at = s->metrics;
}

static int
bind_all(struct supervisor *s, struct why *why)
{
    struct listeners next;
    listeners_keep(&s->listeners, s->plan); /* of a restart in place */
    int rc = listeners_prepare(&s->listeners, s->plan, &next, why);
    if (!rc)
        listeners_commit(&s->listeners, &next, NULL, NULL, s);
    return rc;
}

static int
take_places(struct supervisor *s, struct why *why)
{
    struct places places;
    CLEANUP(buf_done) struct buf story;
    buf_init(&story, PLACES_STORY);
    int rc = places_open(&places, s->plan, &s->children, &story);
    s->sink = places.sink;
    s->master = places.master;
    if (story.n)
        fprintf(stderr, "gapura: %.*s\n", STR_ARG(buf_view(&story)));
    if (!rc && s->sink.kind == EVENT_SINK_DATAGRAM && s->sink.fd < 0)
        fprintf(stderr,
                "gapura: events: the log daemon is not there; mail goes on, and it is tried again "
                "every %u s\n",
                (unsigned)(SINK_LOOK / NS_PER_S));
    return rc ? why_set(why, rc, "nothing was started") : 0;
}

/* The settings were good when the restart began; somebody may have written others while sessions
 * finished their messages. An end would be the end of the service, so they are waited for: clients
 * wait in the backlog meanwhile. */
static void
load_again(struct supervisor *s)
{
    CLEANUP(free_ptr) char *said = NULL;
    char *errors = NULL;
    bool first = true;

    while (plan_load(s->plan, s->file, 1, s->children.uid, s->children.gid, &errors)) {
        if (first || !str_eq(str_c(said), str_c(errors)))
            fprintf(stderr,
                    "%sgapura: the restart waits for settings that are good: mend %s, it is read "
                    "again every %u s. Listening sockets are open, accepted mail is on disk\n",
                    errors ? errors : "", s->file, (unsigned)(AGAIN_PAUSE / NS_PER_S));
        watchdog_notify("STATUS=the restart waits for settings that are good");
        first = false;
        free(said);
        said = errors;
        poll(NULL, 0, (int)(AGAIN_PAUSE / NS_PER_MS));
    }
    free(errors);
    if (!first)
        watchdog_notify("STATUS=");
}

/* What is taken from nobody comes first: a second start by mistake must not harm the first. */
int
supervisor_prepare(struct supervisor *s, struct why *why)
{
    CLEANUP(free_ptr) char *errors = NULL;
    struct children *c = &s->children;
    listeners_import(&s->listeners);
    s->plan = calloc(1, sizeof *s->plan);
    ENSURE(s->plan);
    int rc = children_identity(c, "gapura", why);
    if (rc)
        return rc;
    if (s->listeners.n) /* of a restart in place */
        load_again(s);
    else
        rc = plan_load(s->plan, s->file, 1, c->uid, c->gid, &errors);
    if (rc) {
        unsigned n = 0;
        for (const char *p = errors ? errors : ""; (p = strchr(p, '\n')) != NULL; p++)
            n++;
        fprintf(stderr, "%s", errors ? errors : "");
        if (!n)
            return why_set(why, rc, "%s: %s; nothing was started", s->file, err_text(rc));
        return why_set(why, rc, "%s: %u error%s; nothing was started", s->file, n,
                       n == 1 ? "" : "s");
    }
    c->plan = s->plan;
    s->metrics = s->plan->metrics;
    supervisor_add_metrics(s, s->plan);
    rc = children_identity(c, s->plan->user, why);
    s->plan->admin_gid = c->admin_gid;
    if (!rc)
        rc = dirs_lock(s->plan, c, &s->lock, why);
    if (!rc)
        rc = bind_all(s, why);
    if (!rc)
        rc = take_places(s, why);
    if (!rc)
        rc = dirs_make_control(s->plan, c, why);
    return rc;
}

void
supervisor_start_roles(struct supervisor *s)
{
    static const enum role_id ids[] = {ROLE_SPOOLER, ROLE_RESOLVER, ROLE_KEYRING, ROLE_KEEPER,
                                       ROLE_SCAN,    ROLE_GATE,     ROLE_COURIER, ROLE_DESK};
    s->children.metrics_fd = memfd_create("gapura-metrics", MFD_CLOEXEC);
    if (s->children.metrics_fd >= 0 &&
        !ftruncate(s->children.metrics_fd, (off_t)metric_page_size()))
        metric_attach(fcntl(s->children.metrics_fd, F_DUPFD_CLOEXEC, 3), ROLE_SUPERVISOR);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        bool idle = ids[i] == ROLE_KEYRING ? s->plan->wings == WINGS_INBOUND /* nobody logs in */
                    : ids[i] == ROLE_SCAN  ? s->plan->wings == WINGS_OUTBOUND
                                           : false;
        if (!idle)
            children_start(&s->children, ids[i]);
    }
}
