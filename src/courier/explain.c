/*
 * courier/explain.c - the life of a message, told from the log: envelope, every attempt with its
 * reply, and what it waits for now.
 *
 * Called by control.c. The log is read by explain_read.c in a thread of its own; here the records
 * that it found become lines, in the loop. Never changes anything.
 */
#include "courier/explain.h"

#include "core/codec.h"
#include "courier/control.h"
#include "courier/outcome.h"
#include "courier/recover.h"
#include "policy/record.h"

#define SPF_JSON_MAX (32u << 10) /* a traced term has some 200 bytes */
#define RCPTS_SHOW   50u
#define TELL_TURN    200u /* records told in one turn */

struct explain {
    struct control_call *call;
    struct explain_read *read;
    size_t id, at; /* which message, which of its records */
    unsigned lines;
    uint32_t attempts; /* that a copy or the index speaks of */
    bool found;
    uint8_t seen[256]; /* attempts that were told */
    struct buf text;
};

static void
stamp(struct buf *b, uint64_t wall)
{
    char iso[32];

    clock_iso(wall, iso);
    buf_fmt(b, "%.19s ", iso);
}

/* A line for people in "text", and the same facts in fields. */
static void
tell(struct explain *x, const char *what, uint64_t wall)
{
    struct control_call *call = x->call;
    char id[SPOOL_ID_TEXT];

    control_text(call, "id", str_c(spool_id_show(&x->read->ids[x->id], id)));
    control_text(call, "what", str_c(what));
    if (wall)
        control_number(call, "at", wall / NS_PER_S);
    control_text(call, "text", buf_view(&x->text));
    control_line(call);
    buf_clear(&x->text);
    x->lines++;
}

static const char *const class_names[] = {"system", "inside", "transactional", "bulk"};

/* Why the guard took it, and what it thought of it: the record that was made then. */
static void
tell_decision(struct explain *x, const struct letter *l)
{
    struct record record;
    struct arena arena;
    struct buf spf;
    int err;

    if (!l->env.decision.n)
        return;
    arena_init(&arena, 1u << 20);
    err = record_decode(&record, &arena, l->env.decision);
    buf_init(&spf, SPF_JSON_MAX);
    if (err == 0)
        record_text(&x->text, &record, "\n  ");
    else
        buf_fmt(&x->text, "the decision record cannot be read (%s)", err_text(err));
    if (err == 0 && record.nspf) {
        record_spf_json(&spf, record.spf, record.nspf);
        if (!spf.failed)
            control_json(x->call, "spf", buf_view(&spf));
    }
    tell(x, "decision", 0);
    buf_done(&spf);
    arena_done(&arena);
}

/* By name; a number is shown of one that the settings no longer name. */
static void
tell_tenant(struct explain *x, uint32_t number)
{
    const char *name = source_tenant_name(&x->call->c->sources, number);

    if (number == TENANT_SYSTEM)
        return;
    if (name[0])
        buf_fmt(&x->text, ", tenant %s", name);
    else
        buf_fmt(&x->text, ", tenant number %u", number);
}

static void
tell_envelope(struct explain *x, const struct letter *l)
{
    const struct spool_envelope *env = &l->env;
    struct letter_walk w = {0};
    struct spool_rcpt r;
    char id[SPOOL_ID_TEXT], size[32], client[48], by[32];
    uint32_t ordinal;
    unsigned n = 0;

    stamp(&x->text, env->received);
    buf_fmt(&x->text, "%s %s: from <%.*s>, %s, class %s", l->copy ? "copied" : "accepted",
            spool_id_show(&env->id, id), STR_ARG(env->sender), str_show_size(env->size, size),
            class_names[env->class]);
    tell_tenant(x, env->tenant);
    if (env->helo.n)
        buf_fmt(&x->text, ", by %.*s [%s]", STR_ARG(env->helo), addr_show(&env->client, client));
    if (env->user.n)
        buf_fmt(&x->text, ", for %.*s", STR_ARG(env->user));
    if (env->flags & SPOOL_MAIL_BINARY)
        buf_c(&x->text, ", BINARYMIME");
    if (env->priority)
        buf_fmt(&x->text, ", priority %d", env->priority);
    if (env->by_mode) {
        clock_iso(env->deliver_by, by);
        buf_fmt(&x->text, ", %s unless delivered by %.19s",
                env->by_mode == SPOOL_BY_RETURN ? "returned" : "sender told", by);
    }
    if (env->report_to.n) {
        struct str rest = env->report_to, one;

        buf_c(&x->text, ", reports to");
        for (unsigned i = 0; i < 32 && (one = str_cut(rest, '\0', &rest)).n; i++)
            buf_fmt(&x->text, "%s <%.*s>", i ? "," : "", STR_ARG(one));
    }
    if (env->message_id.n)
        buf_fmt(&x->text, ", Message-ID %.*s", STR_ARG(env->message_id));
    while (letter_next(l, &w, &ordinal, &r) == 1 && n++ < RCPTS_SHOW)
        buf_fmt(&x->text, "\n  recipient %u: <%.*s>%s%.*s", ordinal, STR_ARG(r.address),
                r.via.n ? " via " : "", STR_ARG(r.via));
    if (env->nrcpt > n)
        buf_fmt(&x->text, "\n  and %u more", env->nrcpt - n);
    tell(x, l->copy ? "copy" : "message", env->received);
}

static void
ordinals_text(struct buf *b, struct str wire, uint32_t n)
{
    if (n == 0) {
        buf_c(b, "all open recipients");
        return;
    }
    buf_c(b, n == 1 ? "recipient" : "recipients");
    for (uint32_t i = 0; i < MIN(n, 20u); i++)
        buf_fmt(b, "%s%u", i ? ", " : " ", spool_ordinal_at(wire, i));
    if (n > 20)
        buf_fmt(b, " and %u more", n - 20);
}

static const char *
source_name(const struct courier *c, uint32_t crc)
{
    for (size_t i = 0; i < c->sources.n; i++) {
        if (c->sources.items[i].crc == crc)
            return c->sources.items[i].name;
    }
    return "a source that is no longer in the settings";
}

static void
tell_intent(struct explain *x, const struct spool_intent *in)
{
    char peer[56];

    x->seen[MIN(in->attempt, 255u)] = 1;
    buf_fmt(&x->text, "attempt %u ", in->attempt);
    if (in->peer.port)
        buf_fmt(&x->text, "at %s ", endpoint_show(&in->peer, peer));
    buf_fmt(&x->text, "from %s: ", source_name(x->call->c, in->source));
    ordinals_text(&x->text, in->ordinals_wire, in->nordinals);
    tell(x, "intent", 0);
}

static void
tell_outcome(struct explain *x, const struct spool_outcome *o)
{
    static const char *const names[] = {
        [SPOOL_DELIVERED] = "delivered",     [SPOOL_FAILED] = "failed",
        [SPOOL_EXPIRED] = "expired",         [SPOOL_RETRY] = "put off",
        [SPOOL_UNKNOWN] = "outcome unknown", [SPOOL_HELD] = "held",
        [SPOOL_RELEASED] = "released",       [SPOOL_REMOVED] = "removed",
        [SPOOL_ASIDE] = "set aside"};
    /* What a crash leaves closes its intent; what goes with a copy says that again. */
    bool noted =
        o->result == SPOOL_UNKNOWN && !o->intent_open && str_eq(o->text, STR(OUTCOME_CRASH_TEXT));
    char peer[56], due[32];

    x->seen[MIN(o->attempts, 255u)] = 1;
    stamp(&x->text, o->wall);
    buf_fmt(&x->text, "%s: ", noted ? "still unknown, noted with its copy" : names[o->result]);
    ordinals_text(&x->text, o->ordinals_wire, o->nordinals);
    if (o->peer.port)
        buf_fmt(&x->text, " at %s", endpoint_show(&o->peer, peer));
    if (o->code)
        buf_fmt(&x->text, ": %u", o->code);
    if (o->enhanced[0])
        buf_fmt(&x->text, " %u.%u.%u", o->enhanced[0], o->enhanced[1], o->enhanced[2]);
    if (o->text.n)
        buf_fmt(&x->text, "%s%.*s", o->code ? " " : ": ", STR_ARG(o->text));
    if (str_starts(o->signed_by, STR("arc=")))
        buf_fmt(&x->text, "; sealed (ARC) by %.*s", STR_ARG(str_from(o->signed_by, 4)));
    else if (o->signed_by.n)
        buf_fmt(&x->text, "; signed by %.*s", STR_ARG(o->signed_by));
    if (o->told && !str_eq(o->text, STR(OUTCOME_TOLD_TEXT)))
        buf_c(&x->text, "; " OUTCOME_TOLD_TEXT);
    if (o->due && !spool_result_settles(o->result) && o->result != SPOOL_HELD &&
        o->result != SPOOL_RELEASED) {
        clock_iso(o->due, due);
        buf_fmt(&x->text, "; %s at %.19s", o->result == SPOOL_ASIDE ? "removed" : "next attempt",
                due);
    }
    tell(x, "outcome", o->wall);
}

/* How many attempts a copy says there were: more than are told if older segments went. */
static void
count_attempts(struct explain *x, const struct letter *l)
{
    struct spool_copy_state state;

    for (uint32_t i = 0; i < l->env.nrcpt; i++) {
        if (spool_copy_state_at(l->states, i, &state) == 0)
            x->attempts = MAX(x->attempts, MIN(state.attempts, 255u));
    }
}

static void
tell_purge(struct explain *x, const struct spool_scope *s)
{
    stamp(&x->text, s->made);
    buf_c(&x->text, "removed, if it still waited:");
    if (s->domain.n)
        buf_fmt(&x->text, " mail for %.*s", STR_ARG(s->domain));
    if (s->tenant.n)
        buf_fmt(&x->text, " mail of tenant %.*s", STR_ARG(s->tenant));
    if (s->sender.n)
        buf_fmt(&x->text, " mail from %.*s", STR_ARG(s->sender));
    if (!s->domain.n && !s->tenant.n && !s->sender.n)
        buf_c(&x->text, " all mail");
    buf_fmt(&x->text, ": %.*s", STR_ARG(s->reason));
    tell(x, "purge", s->made);
}

static void
tell_found(struct explain *x, const struct explain_found *f)
{
    struct spool_outcome o;
    struct spool_intent in;
    struct spool_scope s;
    struct letter l = {0};

    if (f->record.type == SPOOL_SCOPE && spool_scope_decode(&f->record, &s) == 0)
        tell_purge(x, &s);
    else if (f->record.type == SPOOL_INTENT && spool_intent_decode(&f->record, &in) == 0)
        tell_intent(x, &in);
    else if (f->record.type == SPOOL_OUTCOME && spool_outcome_decode(&f->record, &o) == 0)
        tell_outcome(x, &o);
    else if ((f->record.type == SPOOL_MESSAGE || f->record.type == SPOOL_COPY) &&
             letter_decode(&l, &f->record, f->node, f->epoch) == 0) {
        x->found = true;
        if (l.copy)
            count_attempts(x, &l);
        tell_envelope(x, &l);
        tell_decision(x, &l);
    }
}

/* Attempts whose records went with their segment: compaction keeps their number alone. */
static void
tell_missing(struct explain *x)
{
    unsigned missing = 0;

    for (uint32_t i = 1; i <= x->attempts; i++)
        missing += !x->seen[i];
    if (missing == 0)
        return;
    buf_fmt(&x->text,
            "%u earlier attempt%s no longer in the log: the space was used again. The events have "
            "%s, under this id",
            missing, missing == 1 ? " is" : "s are", missing == 1 ? "it" : "them");
    tell(x, "missing", 0);
}

/* What it waits for now, each recipient with the end of its wait. */
static void
tell_now(struct explain *x)
{
    struct courier *c = x->call->c;
    const struct spool_id *id = &x->read->ids[x->id];
    uint32_t message = index_message_find(&c->index, id->epoch, id->seq);
    struct letter l;
    char why[512], due[32];
    size_t read, of;
    unsigned n = 0;

    if (message == INDEX_NONE) {
        buf_c(&x->text, c->unread > 0 || recover_progress(c, &read, &of)
                            ? "now: nothing of it is known to wait, but not all of the log is read"
                            : "now: settled; nothing of it waits");
        tell(x, "now", 0);
        return;
    }
    letter_init(&l);
    (void)letter_load(c, message, &l);
    buf_fmt(&x->text, "now: %u recipient%s open", index_message(&c->index, message)->open,
            index_message(&c->index, message)->open == 1 ? "" : "s");
    for (uint32_t row = index_message(&c->index, message)->rows; row != INDEX_NONE;) {
        const struct index_row *r = index_row(&c->index, row);
        if (n++ == RCPTS_SHOW) {
            buf_c(&x->text, "\n  ...");
            break;
        }
        uint64_t opens = control_site_opens(c, index_dest(&c->index, r->dest),
                                            index_message(&c->index, message));
        control_why(c, r, &l, why, sizeof why);
        buf_fmt(&x->text, "\n  recipient %u: %s", r->ordinal, control_state(c, r, &l));
        if (r->state == ROW_WAITING) {
            clock_iso(courier_tick_wall(c, r->due), due);
            buf_fmt(&x->text, " until %.19s", due);
        } else if (opens && str_eq(str_c(control_state(c, r, &l)), STR("ready"))) {
            clock_iso(opens * NS_PER_S, due);
            buf_fmt(&x->text, ", its site is tried again at %.19s", due);
        }
        buf_fmt(&x->text, ", %u attempt%s: %s", r->attempts, r->attempts == 1 ? "" : "s", why);
        row = r->sibling;
    }
    letter_done(&l);
    tell(x, "now", 0);
}

/* The attempts that the index knows of, before tell_missing() compares. */
static void
index_attempts(struct explain *x)
{
    const struct index *ix = &x->call->c->index;
    const struct spool_id *id = &x->read->ids[x->id];
    uint32_t message = index_message_find(ix, id->epoch, id->seq), row;

    for (row = message == INDEX_NONE ? INDEX_NONE : index_message(ix, message)->rows;
         row != INDEX_NONE; row = index_row(ix, row)->sibling)
        x->attempts = MAX(x->attempts, (uint32_t)index_row(ix, row)->attempts);
}

static void
explain_end(struct explain *x)
{
    const struct explain_read *read = x->read;

    if (read->err < 0)
        control_end(x->call, 1, "the log cannot be read: %s", err_text(read->err));
    else if (read->unread < 0)
        control_end(x->call, 1,
                    "the disk does not give all of the log (%s): there may be more than is shown "
                    "here",
                    err_text(read->unread));
    else if (read->address.p && read->nids == 0)
        control_end(x->call, 1,
                    "no message in the log has that sender, recipient or Message-ID; mail that was "
                    "settled some time ago is in the events");
    else if (read->address.p)
        control_end(x->call, 0, "%zu message%s%s", read->nids, read->nids == 1 ? "" : "s",
                    read->older ? ", the newest; older ones by their ids" : "");
    else if (!x->found)
        control_end(x->call, 1,
                    "no message of that id is in the log; if it was settled some time ago, look "
                    "in the events");
    else
        control_end(x->call, 0, "%u records%s", x->lines,
                    read->cut ? "; there are more than one answer may hold" : "");
}

static bool
explain_step(struct control_call *call)
{
    struct explain *x = call->own;
    const struct explain_read *read = x->read;
    unsigned told = 0;

    while (read->err == 0 && x->id < read->nids && told < TELL_TURN) {
        const struct explain_list *list = &read->lists[x->id];
        if (x->at < list->n) {
            tell_found(x, list->items[x->at++]);
            told++;
            continue;
        }
        if (x->found)
            index_attempts(x);
        tell_missing(x);
        if (x->found)
            tell_now(x);
        x->at = 0;
        x->attempts = 0;
        memset(x->seen, 0, sizeof x->seen);
        x->id++;
    }
    if (read->err == 0 && x->id < read->nids)
        return false;
    explain_end(x);
    return true;
}

static void
on_read(void *ctx)
{
    struct control_call *call = ctx;

    call->step = explain_step;
    loop_defer(call->c->loop, &call->turn);
}

static void
explain_done(struct control_call *call)
{
    struct explain *x = call->own;

    explain_read_drop(x->read);
    buf_done(&x->text);
    free(x);
}

void
control_explain(struct control_call *call)
{
    const struct control_filter *f = &call->f;
    struct explain *x;
    int err;

    if (!f->recipient.n && !f->id.n) {
        control_end(call, 2, "explain what? Name an id or an address");
        return;
    }
    x = calloc(1, sizeof *x);
    err = x ? explain_read_start(&x->read, call->c, f->recipient, &f->message, on_read, call)
            : ERR_NOMEM;
    if (err < 0) {
        free(x);
        control_end(call, 1, "%s",
                    err == ERR_LIMIT ? "too many ask for explanations now; ask again in a moment"
                                     : err_text(err));
        return;
    }
    buf_init(&x->text, 256u << 10);
    x->call = call;
    call->own = x;
    call->done = explain_done;
}
