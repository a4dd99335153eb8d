/*
 * roles/reload.c - the steps of a reload and the way back from each.
 *
 * Called by the supervisor. Never waits: every step ends in the loop, with a time limit.
 */
#include <sys/wait.h>

#include "core/clock.h"
#include "core/event.h"
#include "roles/reload.h"
#include "store/asks.h"

#define TEXT_MAX   (32u << 10)
#define ROLES_WAIT (10 * NS_PER_S)

static void begin(struct reload *r);

/* Says how it ended to those who asked for it, and begins the next if somebody waits for one. */
static void
finish(struct reload *r, bool ok, struct str text)
{
    bool ending = !ok && r->children->stopping; /* no fault of the settings */
    unsigned kept = 0;
    if (ending)
        text = STR("the program is ending: the next start reads the settings");
    if (ok || ending)
        event_notice("%.*s", STR_ARG(text));
    else
        event_alarm("settings were not taken, the former ones stay in force: %.*s",
                    (int)MIN(text.n, 3000u), text.p);
    for (unsigned i = 0; i < r->naskers; i++) {
        struct reload_asker *a = &r->askers[i];
        if (a->next)
            r->askers[kept++] = (struct reload_asker){a->role, a->id, false};
        else
            r->answer(r->ctx, a->role, a->id, ok, text);
    }
    r->naskers = kept;
    r->running = false;
    if (r->again && !ending)
        begin(r);
    else
        r->over(r->ctx);
}

/* It begins with what is in force where it cannot be told. */
static void
tell_in_force(struct reload *r, struct child *ch)
{
    if (children_tell_settings(ch, *r->plan))
        children_kill(ch);
}

/* Nothing of `next` stays. Roles that took it, or that will when they come to it, are given the
 * former settings once more. */
static void
refuse(struct reload *r, const char *text)
{
    loop_timer_stop(&r->late);
    for (unsigned i = 0; r->next && i < ROLE_MAX_; i++) {
        struct child *ch = &r->children->of[i];
        bool told = ch->generation == r->next->generation || r->awaited & (1u << i);
        if (ch->chan && told)
            tell_in_force(r, ch);
    }
    r->awaited = 0;
    listeners_abandon(r->listeners, &r->bound);
    if (r->has_sink)
        sink_close(&r->opened);
    r->has_sink = false;
    plan_free(r->next);
    r->next = NULL;
    finish(r, false, str_c(text));
}

static void
commit(struct reload *r)
{
    char text[128];
    loop_timer_stop(&r->late);
    plan_free(*r->plan);
    *r->plan = r->next;
    r->next = NULL;
    r->children->plan = *r->plan;
    /* A role that was started meanwhile began with the former settings. */
    for (unsigned i = 0; i < ROLE_MAX_; i++) {
        struct child *ch = &r->children->of[i];
        if (ch->chan && ch->generation != (*r->plan)->generation)
            tell_in_force(r, ch);
    }
    listeners_commit(r->listeners, &r->bound, r->added, r->gone, r->ctx);
    if (r->has_sink) {
        sink_close(r->sink);
        *r->sink = r->opened;
        r->has_sink = false;
        r->sink_changed(r->ctx);
    }
    r->committed(r->ctx);
    str_fmt(text, sizeof text, "settings generation %llu is in force",
            (unsigned long long)(*r->plan)->generation);
    finish(r, true, str_c(text));
}

static void
commit_if_all(struct reload *r)
{
    if (r->next && !r->awaited)
        commit(r);
}

static void
on_late(void *ctx)
{
    struct reload *r = ctx;
    char text[256];
    for (unsigned i = 0; i < ROLE_MAX_; i++) {
        if (!(r->awaited & (1u << i)))
            continue;
        str_fmt(text, sizeof text, "%s has not taken them within %u s", role_table[i].name,
                (unsigned)(ROLES_WAIT / NS_PER_S));
    }
    refuse(r, text);
}

/* All that can fail without a role. */
static int
prepare(struct reload *r, struct buf *text)
{
    struct why why = {{0}};
    CLEANUP(buf_done) struct buf names;
    buf_init(&names, 4096);
    if (plan_fixed_differs(*r->plan, r->next, &names)) {
        buf_fmt(text,
                "changed, but %.*s can change at a start only: restart with `systemctl restart "
                "gapura` or SIGUSR2 (which keeps the ports open), or undo the change",
                STR_ARG(buf_view(&names)));
        return ERR_STATE;
    }
    int rc = listeners_prepare(r->listeners, r->next, &r->bound, &why);
    if (!rc && !sink_same(r->sink, r->next)) {
        rc = sink_open(&r->opened, r->next, r->children->admin_gid, &why);
        r->has_sink = !rc;
    }
    if (rc)
        buf_c(text, why.text);
    return rc;
}

/* False: one could not be asked, and all is over. A role that is not there begins with the settings
 * that are in force then. */
static bool
ask_all(struct reload *r)
{
    char text[256];

    for (unsigned i = 0; i < ROLE_MAX_; i++) {
        struct child *ch = &r->children->of[i];
        int rc = ch->chan ? children_tell_settings(ch, r->next) : 0;

        if (rc) {
            str_fmt(text, sizeof text, "%s could not be asked to take them: %s", ch->row->name,
                    err_text(rc));
            refuse(r, text);
            return false;
        }
        if (ch->chan)
            r->awaited |= 1u << i;
    }
    return true;
}

static void
on_loaded(void *ctx, int rc, struct plan *plan, const char *errors)
{
    struct reload *r = ctx;
    CLEANUP(buf_done) struct buf text;
    buf_init(&text, TEXT_MAX);
    if (rc || r->children->stopping) {
        struct str said = str_trim(str_c(errors[0] ? errors : err_text(rc ? rc : ERR_CLOSED)));
        buf_str(&text, str_sub(said, 0, TEXT_MAX - 256));
        buf_fmt(&text, "\nthe former settings stay in force; mend %s and reload again", r->file);
        plan_free(plan);
        finish(r, false, buf_view(&text));
        return;
    }
    r->next = plan;
    r->complete(r->ctx, plan);
    if (prepare(r, &text)) {
        buf_char(&text, 0);
        refuse(r, text.p);
        return;
    }
    loop_timer_set(&r->late, ROLES_WAIT);
    if (ask_all(r))
        commit_if_all(r);
}

static void
begin(struct reload *r)
{
    struct plan_ask ask = {
        .loop = r->loop,
        .file = r->file,
        .generation = ++r->generation,
        .uid = r->children->uid,
        .gid = r->children->gid,
        .done = on_loaded,
        .ctx = r,
    };
    r->running = true;
    r->again = false;
    int rc = plan_load_start(&ask);
    if (rc)
        finish(r, false, str_c(err_text(rc)));
}

void
reload_init(struct reload *r)
{
    loop_timer_init(&r->late, r->loop, on_late, r);
}

void
reload_ask(struct reload *r, enum role_id role, uint64_t id)
{
    if (role != ROLE_SUPERVISOR && r->naskers == RELOAD_ASKERS) {
        r->answer(r->ctx, role, id, false, STR("too many wait for a reload; ask again"));
        return;
    }
    if (role != ROLE_SUPERVISOR)
        r->askers[r->naskers++] = (struct reload_asker){role, id, r->running};
    r->again = r->running;
    if (!r->running)
        begin(r);
}

void
reload_taken(struct reload *r, struct child *ch, struct wire *body)
{
    uint64_t generation = wire_u64(body);
    bool taken = wire_u8(body);
    struct str why = wire_str(body);
    if (taken)
        ch->generation = generation;
    /* It was told those as one that began meanwhile, or to go back: at its start it takes them. */
    if (!taken && generation == (*r->plan)->generation) {
        event_alarm("%s did not take the settings that are in force (%.*s) and is started again "
                    "with them; accepted mail is on disk",
                    ch->row->name, (int)MIN(why.n, 1000u), why.p);
        children_kill(ch);
        return;
    }
    if (!r->next || generation != r->next->generation || !(r->awaited & (1u << ch->row->id)))
        return;
    r->awaited &= ~(1u << ch->row->id);
    if (taken) {
        commit_if_all(r);
        return;
    }
    char text[1024];
    str_fmt(text, sizeof text, "%s: %.*s", ch->row->name, STR_ARG(why));
    refuse(r, text);
}

/* Who died may have died of them. With status 0 it had taken them, and asked for the start that
 * they need: what it said last may not have been read. */
void
reload_lost(struct reload *r, struct child *ch)
{
    char text[256];
    bool asked = r->next && r->awaited & (1u << ch->row->id);

    r->awaited &= ~(1u << ch->row->id);
    if (!asked)
        return;
    if (!ch->last_status) {
        commit_if_all(r);
        return;
    }
    str_fmt(text, sizeof text, "%s ended while it was asked to take them (%s %d)", ch->row->name,
            WIFSIGNALED(ch->last_status) ? "signal" : "status",
            WIFSIGNALED(ch->last_status) ? WTERMSIG(ch->last_status)
                                         : WEXITSTATUS(ch->last_status));
    refuse(r, text);
}
