/*
 * courier/control.c - the control verbs: arguments in, suspensions.
 *
 * Called by the role for each request of the control socket. What looks at many rows or reads the
 * log goes on in later turns of the loop: a step of a few milliseconds, then delivery has its turn.
 * JSON comes in by Jansson, goes out by our own writer.
 */
#include "courier/control.h"

#include <stdarg.h>

#include "core/event.h"
#include "courier/outs.h"
#include "courier/recover.h"
#include "courier/session.h"

#define LINE_MAX_BYTES (1u << 20)
#define OUTS_MANY      8192u /* records under way */
#define LIMIT_DEFAULT  1000u
#define PAUSE          (10 * NS_PER_MS) /* looks again whether the reader has read */
#define PATIENCE       (10 * NS_PER_S)  /* with a log that does not take what a verb did */

void
control_line(struct control_call *call)
{
    buf_char(&call->line, '}');
    if (!call->line.failed)
        call->reply.line(call->reply.ctx, buf_view(&call->line));
    buf_clear(&call->line);
}

/* Is what was told or changed not all there is? Then it says so. */
static bool
answer_is_part(const struct control_call *call, char *text, size_t size)
{
    size_t at = strlen(text), done, of;
    const char *and = at ? "; " : "";

    if (recover_progress(call->c, &done, &of)) {
        str_fmt(text + at, size - at,
                "%sreading the log: %zu of %zu segments; mail that is not read yet is not in this "
                "answer, and is safe on disk",
                and, done, of);
        return true;
    }
    if (call->c->unread == 0 || !call->whole)
        return false;
    str_fmt(text + at, size - at,
            "%snot all of the log can be read, as an Alarm said; mail that was not read is not in "
            "this answer, and is safe on disk",
            and);
    return true;
}

void
control_end(struct control_call *call, int status, const char *fmt, ...)
{
    char text[1400];
    int told = status;
    va_list ap;

    va_start(ap, fmt);
    if (vsnprintf(text, sizeof text, fmt, ap) < 0)
        text[0] = '\0';
    va_end(ap);
    if (status != 2 && answer_is_part(call, text, sizeof text) && status == 0 && call->whole &&
        !call->f.id.n) /* one message was all that was asked for */
        told = 1;
    if (status == 0 && call->changes && !outs_durable(call->c, outs_given(call->c)))
        call->last = strdup(text); /* told when it is true after a crash as well */
    call->last_status = told;
    if (status != 0 || !call->last)
        call->reply.end(call->reply.ctx, told, text);
}

static void
key(struct control_call *call, const char *name)
{
    buf_char(&call->line, call->line.n ? ',' : '{');
    buf_json(&call->line, str_c(name));
    buf_char(&call->line, ':');
}

void
control_text(struct control_call *call, const char *name, struct str value)
{
    key(call, name);
    buf_json(&call->line, value);
}

void
control_json(struct control_call *call, const char *name, struct str json)
{
    key(call, name);
    buf_str(&call->line, json);
}

void
control_number(struct control_call *call, const char *name, uint64_t value)
{
    key(call, name);
    buf_u64(&call->line, value);
}

static struct str
text_of(const json_t *args, const char *name)
{
    const json_t *v = json_object_get(args, name);

    if (!json_is_string(v))
        return STR_NONE;
    return str_of(json_string_value(v), json_string_length(v));
}

static int
filter_read(const json_t *args, struct control_filter *f, const char **ret_text)
{
    const json_t *limit = json_object_get(args, "limit");

    *f = (struct control_filter){
        .domain = text_of(args, "domain"),
        .tenant = text_of(args, "tenant"),
        .sender = text_of(args, "sender"),
        .recipient = text_of(args, "recipient"),
        .source = text_of(args, "source"),
        .site = text_of(args, "site"),
        .state = text_of(args, "state"),
        .id = text_of(args, "id"),
        .reason = text_of(args, "reason"),
        .span = text_of(args, "for"),
        .all = json_is_true(json_object_get(args, "all")),
        .limit = LIMIT_DEFAULT,
    };
    if (!f->site.n)
        f->site = text_of(args, "provider");
    if (json_is_integer(limit) && json_integer_value(limit) > 0)
        f->limit = (uint64_t)json_integer_value(limit);
    if (f->id.n && spool_id_parse(f->id, &f->message) < 0) {
        *ret_text =
            "that is neither an address nor an id, 26 letters and digits as in `gapura queue "
            "list` and `gapura suspensions`; what waits for a domain is shown by `gapura queue "
            "list --domain DOMAIN`";
        return ERR_SYNTAX;
    }
    for (size_t i = 0; f->state.n; i++) {
        if (!control_states[i]) {
            *ret_text = "there is no such state: --state is one of ready, waiting, aside, active, "
                        "suspended, held";
            return ERR_SYNTAX;
        }
        if (str_eq(f->state, str_c(control_states[i])))
            break;
    }
    return 0;
}

/* --- suspensions --- */

static unsigned
fields_given(const struct control_filter *f)
{
    return (f->domain.n > 0) + (f->tenant.n > 0) + (f->sender.n > 0) + (f->source.n > 0) +
           (f->site.n > 0);
}

static void
scope_fill(const struct control_filter *f, struct spool_scope *s)
{
    *s = (struct spool_scope){.domain = f->domain,
                              .tenant = f->tenant,
                              .sender = f->sender,
                              .source = f->source,
                              .provider = f->site,
                              .reason = f->reason,
                              .by = STR("control")};
}

static bool
tenant_known(const struct sources *s, struct str name)
{
    for (size_t i = 0; i < s->ntenants; i++)
        if (str_eq(str_c(s->tenants[i].name), name))
            return true;
    return false;
}

/* Sites come and go with mail: a name that none has now may be right all the same. */
static bool
site_known(const struct courier *c, struct str name)
{
    struct str key;
    size_t at = 0;
    const struct site *s;

    while ((s = map_next(&c->sites->names, &at, &key)) != NULL)
        if (str_find(str_c(s->name), name) >= 0)
            return true;
    return false;
}

/* A name that is none would hold nothing, and look as if it did. */
static const char *
suspend_refused(const struct control_call *call)
{
    const struct control_filter *f = &call->f;

    if (f->recipient.n)
        return "recipients are held one by one: use `gapura queue hold`";
    if (fields_given(f) + f->all != 1)
        return "a suspension is by one of --domain, --tenant, --sender, --source, --site or --all; "
               "make several for more";
    if (!f->reason.n)
        return "a suspension wants --reason";
    if (f->source.n && source_find(&call->c->sources, f->source) == UINT32_MAX)
        return "there is no source of that name in the settings; nothing was suspended";
    if (f->tenant.n && !tenant_known(&call->c->sources, f->tenant))
        return "there is no tenant of that name in the settings; nothing was suspended";
    return NULL;
}

static void
control_suspend(struct control_call *call)
{
    const struct control_filter *f = &call->f;
    const char *refused = suspend_refused(call);
    char id[SPOOL_ID_TEXT], until[32] = "";
    struct spool_scope s;
    uint64_t span = 0;
    int err;

    if (refused) {
        control_end(call, 2, "%s", refused);
        return;
    }
    if (f->span.n && str_duration(f->span, &span) < 0) {
        control_end(call, 2, "--for is not a time span: write for example 30m, 2h or 1d");
        return;
    }
    scope_fill(f, &s);
    if (span) {
        s.until = courier_wall(call->c) + span;
        clock_iso(s.until, until);
    }
    err = scopes_suspend(call->c, &s, id);
    if (err < 0)
        control_end(call, 1, "not suspended: %s; nothing has changed", err_text(err));
    else
        control_end(call, 0, "suspended%s%s; `gapura resume %s` ends it%s",
                    until[0] ? " until " : "", until, id,
                    f->site.n && !site_known(call->c, f->site)
                        ? ". No site has that in its name now; `gapura queue summary` lists them"
                        : "");
}

static void
control_resume(struct control_call *call)
{
    const struct control_filter *f = &call->f;
    struct spool_scope s;
    unsigned n;

    if (fields_given(f) == 0 && !f->all && !f->id.n) {
        control_end(call, 2, "which suspension? Name its id, what it holds, or --all");
        return;
    }
    scope_fill(f, &s);
    s.by = STR("control");
    n = scopes_resume(call->c, &s, f->id);
    if (n == 0)
        control_end(call, 1, "no suspension is like that; see `gapura suspensions`");
    else
        control_end(call, 0, "%u suspension%s ended", n, n == 1 ? "" : "s");
}

/* A suspension that names another thing, or nothing of that kind, is left out. */
static bool
scope_wanted(const struct control_filter *f, const struct scope *s)
{
    const struct {
        struct str want;
        const char *have;
    } fields[] = {{f->domain, s->domain},
                  {f->tenant, s->tenant},
                  {f->sender, s->sender},
                  {f->source, s->source},
                  {f->site, s->provider}};

    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (fields[i].want.n && !str_ieq(fields[i].want, str_c(fields[i].have)))
            return false;
    }
    return true;
}

static void
control_suspensions(struct control_call *call)
{
    unsigned n = 0;
    char id[SPOOL_ID_TEXT];

    for (const struct scope *s = call->c->scopes->list; s; s = s->next) {
        struct {
            const char *name;
            const char *value;
        } fields[] = {{"domain", s->domain},
                      {"site", s->provider},
                      {"tenant", s->tenant},
                      {"sender", s->sender},
                      {"source", s->source}};
        if (s->ended || !scope_wanted(&call->f, s))
            continue;
        control_text(call, "id", str_c(spool_id_show(&s->id, id)));
        for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
            if (fields[i].value[0])
                control_text(call, fields[i].name, str_c(fields[i].value));
        }
        control_number(call, "since", s->made / NS_PER_S);
        if (s->until)
            control_number(call, "until", s->until / NS_PER_S);
        control_text(call, "reason", str_c(s->reason));
        control_line(call);
        n++;
    }
    control_end(call, 0, "%s",
                n ? ""
                : call->c->scopes->n == 0
                    ? "nothing is suspended"
                    : "no suspension is like that; `gapura suspensions` lists all");
}

/* Scripts go by the status: a listing of half the log must not pass for that of an empty queue. */
static const struct {
    const char *name;
    void (*fn)(struct control_call *);
    bool whole;
    bool changes; /* what it did stands in the log */
} verbs[] = {
    {"queue.list", control_list, true, false},
    {"queue.show", control_show, true, false},
    {"queue.summary", control_summary, true, false},
    {"queue.retry", control_retry, true, false},
    {"queue.hold", control_hold, true, true},
    {"queue.release", control_release, true, true},
    {"queue.remove", control_remove, true, true},
    {"suspend", control_suspend, false, true},
    {"resume", control_resume, true, true},
    {"suspensions", control_suspensions, true, false},
    {"explain", control_explain, false, false},
    {"top.courier", control_top, false, false},
    {"replies.unknown", control_replies_unknown, false, false},
};

/* --- a call, from turn to turn --- */

/* Told from outside a step (a worker's end): the call is over and freed. */
static void
control_free(struct control_call *call)
{
    if (call->done)
        call->done(call);
    loop_call_cancel(call->c->loop, &call->turn);
    loop_timer_stop(&call->pause);
    *call->prev = call->next;
    if (call->next)
        call->next->prev = call->prev;
    if (call->walk.begun)
        letter_done(&call->walk.l);
    buf_done(&call->line);
    json_decref(call->args);
    free(call->last);
    free(call);
}

void
controls_free(struct courier *c)
{
    while (c->calls) {
        control_end(c->calls, 1, "the courier is ending; ask again in a moment");
        control_free(c->calls);
    }
    loop_call_cancel(c->loop, &c->written);
    c->written_wanted = false;
}

/* Lines are not made faster than they are read, changes not faster than the log takes them. */
static bool
call_must_wait(const struct control_call *call)
{
    return (call->reply.full && call->reply.full(call->reply.ctx)) ||
           (!call->last && outs_open(call->c) > OUTS_MANY);
}

/* What it did is not on disk yet. */
static bool
call_last_step(struct control_call *call)
{
    uint64_t now = clock_mono();
    char text[1600];

    call->waits = true;
    if (outs_durable(call->c, call->written)) {
        call->reply.end(call->reply.ctx, call->last_status, call->last);
        return true;
    }
    if (now < call->patience) {
        loop_timer_set(&call->pause, call->patience - now);
        return false;
    }
    str_fmt(text, sizeof text,
            "%s. The log has not taken that yet, and a crash before it does would undo it: look at "
            "the disk",
            call->last);
    call->reply.end(call->reply.ctx, 1, text);
    return true;
}

/* A record of ours came to its end. */
static void
calls_look(void *ctx)
{
    struct courier *c = ctx;

    c->written_wanted = false;
    for (struct control_call *call = c->calls; call; call = call->next) {
        if (!call->last)
            continue;
        c->written_wanted = true;
        loop_defer(c->loop, &call->turn);
    }
}

static void
call_over(struct control_call *call)
{
    struct courier *c = call->c;

    if (!call->last) {
        control_free(call);
        return;
    }
    call->step = call_last_step;
    call->written = outs_given(c);
    call->patience = clock_mono() + PATIENCE;
    call->finishes = call->waits = true;
    if (!c->written_wanted)
        c->written = (struct loop_call){.fn = calls_look, .ctx = c};
    c->written_wanted = true;
    loop_defer_next(c->loop, &call->turn);
}

static void
call_turn(void *ctx)
{
    struct control_call *call = ctx;

    if (!call->finishes && call->reply.gone && call->reply.gone(call->reply.ctx)) {
        control_end(call, 1, "the client has left");
        control_free(call);
    } else if (call_must_wait(call)) {
        loop_timer_set(&call->pause, PAUSE);
    } else if (call->step(call)) {
        if (call->step == call_last_step)
            control_free(call);
        else
            call_over(call);
    } else if (!call->waits) {
        loop_defer_next(call->c->loop, &call->turn);
    }
}

static struct control_call *
call_create(struct courier *c, const struct courier_reply *reply)
{
    struct control_call *call = calloc(1, sizeof *call);

    if (!call)
        return NULL;
    call->c = c;
    call->reply = *reply;
    buf_init(&call->line, LINE_MAX_BYTES);
    call->turn = (struct loop_call){.fn = call_turn, .ctx = call};
    loop_timer_init(&call->pause, c->loop, call_turn, call);
    call->next = c->calls;
    call->prev = &c->calls;
    if (call->next)
        call->next->prev = &call->next;
    c->calls = call;
    return call;
}

bool
courier_verb(struct courier *c, struct str verb, struct str args, const struct courier_reply *reply)
{
    const char *text = "the arguments are not a JSON object";
    struct control_call *call;
    json_error_t at;

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (!str_eq(verb, str_c(verbs[i].name)))
            continue;
        call = call_create(c, reply);
        if (!call) {
            reply->end(reply->ctx, 1, "no memory for that now; nothing was changed");
            return true;
        }
        call->whole = verbs[i].whole;
        call->changes = verbs[i].changes;
        call->args = args.n ? json_loadb(args.p, args.n, 0, &at) : json_object();
        if (!json_is_object(call->args) || filter_read(call->args, &call->f, &text) < 0) {
            control_end(call, 2, "%s", text);
            control_free(call);
            return true;
        }
        verbs[i].fn(call);
        if (call->step)
            call_turn(call);
        else if (!call->own)
            call_over(call);
        return true;
    }
    return false;
}
