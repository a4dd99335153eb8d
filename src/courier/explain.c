/*
 * courier/explain.c - the life of a message, told from the log: envelope, every attempt with its
 * reply, and what it waits for now.
 *
 * Called by control.c. Reads the directories of all segments; never changes anything. What was
 * settled and whose segment was recycled is no longer in the log: the events have it.
 */
#include "core/codec.h"
#include "courier/control.h"
#include "courier/intake.h"

#define IDS_MAX    20u
#define RCPTS_SHOW 50u
#define EARLY_MAX  4096u

struct explain {
    struct control_call *call;
    struct spool_id id; /* of this telling */
    struct str address; /* when ids are looked for */
    struct spool_id ids[IDS_MAX];
    size_t nids;
    unsigned lines;
    bool found;
    struct buf text;
    /* What the log tells of a message before the message itself: our stream's epoch may be older
     * than the gate's. */
    struct early_line {
        const char *what;
        uint64_t wall;
        char *text;
        size_t n;
    } * early;
    size_t nearly, early_cap;
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
tell_text(struct explain *x, const char *what, uint64_t wall, struct str text)
{
    struct control_call *call = x->call;
    char id[SPOOL_ID_TEXT];

    control_text(call, "id", str_c(spool_id_show(&x->id, id)));
    control_text(call, "what", str_c(what));
    if (wall)
        control_number(call, "at", wall / NS_PER_S);
    control_text(call, "text", text);
    control_line(call);
    x->lines++;
}

static void
tell(struct explain *x, const char *what, uint64_t wall)
{
    tell_text(x, what, wall, buf_view(&x->text));
    buf_clear(&x->text);
}

/* Keeps the line until the message was told; at most EARLY_MAX, the rest comes at once. */
static void
tell_later(struct explain *x, const char *what, uint64_t wall)
{
    if (x->nearly == x->early_cap) {
        size_t cap = x->early_cap ? 2 * x->early_cap : 16;
        struct early_line *more =
            cap > EARLY_MAX ? NULL : realloc(x->early, cap * sizeof *x->early);
        if (!more) {
            tell(x, what, wall);
            return;
        }
        x->early = more;
        x->early_cap = cap;
    }
    x->early[x->nearly++] = (struct early_line){what, wall, str_dup(buf_view(&x->text)), x->text.n};
    buf_clear(&x->text);
}

static void
tell_early(struct explain *x)
{
    for (size_t i = 0; i < x->nearly; i++) {
        struct early_line *e = &x->early[i];
        if (e->text)
            tell_text(x, e->what, e->wall, str_of(e->text, e->n));
        free(e->text);
    }
    free(x->early);
    x->early = NULL;
    x->nearly = x->early_cap = 0;
}

static const char *const class_names[] = {"system", "inside", "transactional", "bulk"};

static void
tell_envelope(struct explain *x, const struct letter *l)
{
    const struct spool_envelope *env = &l->env;
    struct letter_walk w = {0};
    struct spool_rcpt r;
    char id[SPOOL_ID_TEXT], size[32], client[48];
    uint32_t ordinal;
    unsigned n = 0;

    stamp(&x->text, env->received);
    buf_fmt(&x->text, "%s %s: from <%.*s>, %s, class %s, tenant %u",
            l->copy ? "copied" : "accepted", spool_id_show(&env->id, id), STR_ARG(env->sender),
            str_show_size(env->size, size), class_names[env->class], env->tenant);
    if (env->helo.n)
        buf_fmt(&x->text, ", by %.*s [%s]", STR_ARG(env->helo), addr_show(&env->client, client));
    if (env->user.n)
        buf_fmt(&x->text, ", for %.*s", STR_ARG(env->user));
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

    buf_fmt(&x->text, "attempt %u ", in->attempt);
    if (in->peer.port)
        buf_fmt(&x->text, "at %s ", endpoint_show(&in->peer, peer));
    buf_fmt(&x->text, "from %s: ", source_name(x->call->c, in->source));
    ordinals_text(&x->text, in->ordinals_wire, in->nordinals);
    tell_later(x, "intent", 0);
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
    char peer[56], due[32];

    stamp(&x->text, o->wall);
    buf_fmt(&x->text, "%s: ", names[o->result]);
    ordinals_text(&x->text, o->ordinals_wire, o->nordinals);
    if (o->peer.port)
        buf_fmt(&x->text, " at %s", endpoint_show(&o->peer, peer));
    if (o->code)
        buf_fmt(&x->text, ": %u", o->code);
    if (o->enhanced[0])
        buf_fmt(&x->text, " %u.%u.%u", o->enhanced[0], o->enhanced[1], o->enhanced[2]);
    if (o->text.n)
        buf_fmt(&x->text, "%s%.*s", o->code ? " " : ": ", STR_ARG(o->text));
    if (o->due && !spool_result_settles(o->result) && o->result != SPOOL_HELD &&
        o->result != SPOOL_RELEASED) {
        clock_iso(o->due, due);
        buf_fmt(&x->text, "; %s at %.19s", o->result == SPOOL_ASIDE ? "removed" : "next attempt",
                due);
    }
    tell_later(x, "outcome", o->wall);
}

static int
tell_record(void *ctx, const struct spool_place *place, const struct spool_record *r)
{
    struct explain *x = ctx;
    struct spool_outcome o;
    struct spool_intent in;
    struct letter l = {0};

    switch (r->type) {
    case SPOOL_MESSAGE:
    case SPOOL_COPY:
        if (r->type == SPOOL_MESSAGE &&
            (place->segment->epoch != x->id.epoch || r->seq != x->id.seq))
            break;
        if (letter_decode(&l, r, place->segment->node, place->segment->epoch) == 0 &&
            spool_id_eq(&l.env.id, &x->id)) {
            x->found = true;
            tell_envelope(x, &l);
        }
        break;
    case SPOOL_INTENT:
        if (spool_intent_decode(r, &in) == 0 && spool_id_eq(&in.id, &x->id))
            tell_intent(x, &in);
        break;
    case SPOOL_OUTCOME:
        if (spool_outcome_decode(r, &o) == 0 && spool_id_eq(&o.id, &x->id))
            tell_outcome(x, &o);
        break;
    default:
        break;
    }
    return 0;
}

/* Ids of messages that name the address; the newest are kept. */
static int
find_record(void *ctx, const struct spool_place *place, const struct spool_record *r)
{
    struct explain *x = ctx;
    struct letter_walk w = {0};
    struct letter l = {0};
    struct spool_rcpt rcpt;
    uint32_t ordinal;
    bool hit;

    if (r->type != SPOOL_MESSAGE && r->type != SPOOL_COPY)
        return 0;
    if (letter_decode(&l, r, place->segment->node, place->segment->epoch) < 0)
        return 0;
    hit = str_ieq(l.env.sender, x->address);
    while (!hit && letter_next(&l, &w, &ordinal, &rcpt) == 1)
        hit = str_ieq(rcpt.address, x->address);
    if (!hit)
        return 0;
    for (size_t i = 0; i < x->nids; i++) {
        if (spool_id_eq(&x->ids[i], &l.env.id))
            return 0;
    }
    if (x->nids == IDS_MAX)
        memmove(x->ids, x->ids + 1, --x->nids * sizeof x->ids[0]);
    x->ids[x->nids++] = l.env.id;
    return 0;
}

static int
each_record(struct explain *x,
            int (*fn)(void *, const struct spool_place *, const struct spool_record *))
{
    const struct spool_reader_ops ops = {.record = fn};
    const char *dir = x->call->c->links.spool_dir;
    struct spool_listing all = {0};
    int err = spool_list(dir, NULL, &all, NULL);
    size_t n;

    for (size_t at = 0; err == 0 && at < all.n; at += n) {
        for (n = 1; at + n < all.n && all.items[at + n].epoch == all.items[at].epoch; n++)
            ;
        err = spool_epoch_read(dir, all.items + at, n, NULL, &ops, x);
    }
    spool_listing_done(&all);
    return err;
}

/* What it waits for now, each recipient with the end of its wait. */
static void
tell_now(struct explain *x)
{
    struct courier *c = x->call->c;
    uint32_t message = index_message_find(&c->index, x->id.epoch, x->id.seq);
    struct letter l;
    char why[512], due[32];
    unsigned n = 0;

    if (message == INDEX_NONE) {
        buf_c(&x->text, "now: settled; nothing of it waits");
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
        control_why(c, r, &l, why, sizeof why);
        buf_fmt(&x->text, "\n  recipient %u: %s", r->ordinal, control_state(c, r));
        if (r->state == ROW_WAITING) {
            clock_iso(courier_tick_wall(c, r->due), due);
            buf_fmt(&x->text, " until %.19s", due);
        }
        buf_fmt(&x->text, ", %u attempt%s: %s", r->attempts, r->attempts == 1 ? "" : "s", why);
        row = r->sibling;
    }
    letter_done(&l);
    tell(x, "now", 0);
}

static int
explain_id(struct explain *x, const struct spool_id *id)
{
    int err;

    x->id = *id;
    x->found = false;
    err = each_record(x, tell_record);
    tell_early(x);
    if (err == 0 && x->found)
        tell_now(x);
    return err;
}

static void
explain_address(struct explain *x)
{
    int err;

    x->address = x->call->f.recipient;
    err = each_record(x, find_record);
    for (size_t i = 0; err == 0 && i < x->nids; i++)
        err = explain_id(x, &x->ids[i]);
    if (err < 0)
        control_end(x->call, 1, "the log cannot be read: %s", err_text(err));
    else if (x->nids == 0)
        control_end(x->call, 1,
                    "no message in the log has that sender or recipient; settled mail is in the "
                    "events");
    else
        control_end(x->call, 0, "%zu message%s", x->nids, x->nids == 1 ? "" : "s");
}

void
control_explain(struct control_call *call)
{
    struct explain x = {.call = call};
    int err;

    buf_init(&x.text, 256u << 10);
    if (call->f.recipient.n) {
        explain_address(&x);
    } else if (!call->f.id.n) {
        control_end(call, 2, "explain what? Name an id or an address");
    } else {
        err = explain_id(&x, &call->f.message);
        if (err < 0)
            control_end(call, 1, "the log cannot be read: %s", err_text(err));
        else if (!x.found)
            control_end(call, 1,
                        "no message of that id is in the log; if it was settled some time "
                        "ago, look in the events");
        else
            control_end(call, 0, "%u records", x.lines);
    }
    buf_done(&x.text);
}
