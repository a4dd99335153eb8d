/*
 * lab/tell.c - what an event says to a person who sees it for the first time.
 *
 * Called by lab.c for each event. Texts of strangers are in them: control bytes become "?".
 */
#include "lab/tell.h"

#include "core/clock.h"

static struct str
text_of(const json_t *e, const char *key)
{
    const json_t *v = json_object_get(e, key);
    return json_is_string(v) ? str_of(json_string_value(v), json_string_length(v)) : STR_NONE;
}

static void
put_safe(struct buf *out, struct str s, size_t most)
{
    for (size_t i = 0; i < s.n && i < most; i++) {
        unsigned char c = (unsigned char)s.p[i], next = i + 1 < s.n ? (unsigned char)s.p[i + 1] : 0;
        bool control = c < 32 || c == 127 || (c == 0xc2 && next >= 0x80 && next < 0xa0);

        buf_char(out, control ? '?' : (char)c);
        i += control && c == 0xc2; /* U+0080 to U+009F are two bytes */
    }
    if (s.n > most)
        buf_c(out, "...");
}

/* "550 5.1.1 text"; the gate's enhanced code is an object, the courier's a text. */
static void
put_response(struct buf *out, const json_t *e)
{
    const json_t *r = json_object_get(e, "response"), *x = json_object_get(r, "enhanced_code");
    json_int_t code = json_integer_value(json_object_get(r, "code"));

    if (code)
        buf_fmt(out, "%d ", (int)code);
    if (json_is_string(x) && json_string_length(x))
        buf_fmt(out, "%.12s ", json_string_value(x));
    else if (json_is_object(x))
        buf_fmt(out, "%d.%d.%d ", (int)json_integer_value(json_object_get(x, "class")),
                (int)json_integer_value(json_object_get(x, "subject")),
                (int)json_integer_value(json_object_get(x, "detail")));
    put_safe(out, text_of(r, "content"), 300);
}

static void
put_recipients(struct buf *out, const json_t *e)
{
    json_int_t n = json_integer_value(json_object_get(e, "recipient_count"));

    if (!n)
        n = json_integer_value(json_object_get(e, "nrcpt"));
    put_safe(out, text_of(e, "recipient"), 80);
    if (n > 1)
        buf_fmt(out, " and %lld more", (long long)(n - 1));
}

static void
put_mail(struct buf *out, const json_t *e)
{
    put_safe(out, text_of(e, "id"), 31);
    buf_c(out, "  ");
    put_recipients(out, e);
}

static void
say_accepted(struct buf *out, const json_t *e)
{
    struct str sender = text_of(e, "sender");

    put_safe(out, text_of(e, "id"), 31);
    buf_c(out, "  from ");
    put_safe(out, sender.n ? sender : STR("<> (a report)"), 80);
    buf_c(out, " to ");
    put_recipients(out, e);
    buf_c(out, ": it is on disk");
}

static void
say_refused(struct buf *out, const json_t *e)
{
    struct str recipient = text_of(e, "recipient"), sender = text_of(e, "sender");

    if (sender.n) {
        buf_c(out, "from ");
        put_safe(out, sender, 80);
        buf_c(out, recipient.n ? " to " : "");
    }
    put_safe(out, recipient, 80);
    buf_c(out, ": ");
    put_response(out, e);
}

static void
put_host(struct buf *out, const json_t *e)
{
    struct str name = text_of(json_object_get(e, "peer_address"), "name");

    if (name.n) {
        buf_c(out, " at ");
        put_safe(out, name, 80);
    }
}

static void
say_delivered(struct buf *out, const json_t *e)
{
    put_mail(out, e);
    put_host(out, e);
    buf_c(out, ": ");
    put_response(out, e);
}

static void
say_waits(struct buf *out, const json_t *e)
{
    double due = json_number_value(json_object_get(e, "next_due")) -
                 json_number_value(json_object_get(e, "timestamp"));

    say_delivered(out, e);
    if (due > 0 && due < 1e9)
        buf_fmt(out, "; next attempt in %.0f s", due);
}

static const struct {
    const char *type, *word;
    enum tell_kind kind;
    void (*say)(struct buf *, const json_t *);
} says[] = {
    {"Reception", "accepted ", TELL_ACCEPTED, say_accepted},
    {"Rejection", "refused  ", TELL_REFUSED, say_refused},
    {"Delivery", "delivered", TELL_DELIVERED, say_delivered},
    {"TransientFailure", "waits    ", TELL_WAITS, say_waits},
    {"Bounce", "failed   ", TELL_FAILED, say_delivered},
    {"Expiration", "given up ", TELL_FAILED, say_delivered},
    {"SetAside", "set aside", TELL_FAILED, say_delivered},
};

static bool
is_own_id(const struct tell *t, struct str id)
{
    unsigned n = MIN(t->nids, TELL_IDS);

    for (unsigned i = 0; id.n && i < n; i++) {
        if (str_eq(id, str_c(t->ids[i])))
            return true;
    }
    return false;
}

/* Reports to the person are the person's as well. */
static bool
is_own(struct tell *t, const json_t *e, enum tell_kind kind)
{
    struct str id = text_of(e, "id"), user = text_of(e, "user");
    struct str from = text_of(json_object_get(e, "peer_address"), "addr");
    struct endpoint at = {0};

    if (kind == TELL_ACCEPTED || kind == TELL_REFUSED) {
        endpoint_parse(from, 0, &at);
        if (traffic_is_sample(t->traffic, user, &at.addr))
            return false;
        if (kind == TELL_ACCEPTED)
            str_copy(id, t->ids[t->nids++ % TELL_IDS], sizeof(t->ids[0]));
        return true;
    }
    if (is_own_id(t, id) || (user.n && str_ieq(user, t->login)))
        return true;
    return !text_of(e, "sender").n && str_ieq(text_of(e, "recipient"), t->login);
}

static void
put_time(struct buf *out, const json_t *e)
{
    double at = json_number_value(json_object_get(e, "timestamp"));
    char iso[32];

    clock_iso(at > 0 && at < 1e10 ? (uint64_t)(at * 1e9) : 0, iso);
    buf_fmt(out, "%.8s  ", iso + 11);
}

enum tell_whose
tell_event(struct tell *t, const json_t *e, struct buf *out, char id[32])
{
    struct str type = text_of(e, "type");
    bool own;

    id[0] = 0;
    if (str_eq(type, STR("Warning")) || str_eq(type, STR("Alarm"))) {
        put_time(out, e);
        buf_c(out, "warning    ");
        put_safe(out, text_of(e, "text"), 400);
        buf_char(out, '\n');
        return TELL_OWN;
    }
    for (size_t i = 0; i < ARRAY_LEN(says); i++) {
        if (!str_eq(type, str_c(says[i].type)))
            continue;
        own = is_own(t, e, says[i].kind);
        t->samples[says[i].kind] += !own;
        if (!own && !t->all)
            return TELL_SAMPLE;
        if (own && says[i].kind == TELL_ACCEPTED)
            str_copy(text_of(e, "id"), id, 32);
        put_time(out, e);
        buf_fmt(out, "%s  ", says[i].word);
        says[i].say(out, e);
        buf_char(out, '\n');
        return own ? TELL_OWN : TELL_SAMPLE;
    }
    return TELL_NOBODY;
}

void
tell_sum(struct tell *t, struct buf *out)
{
    static const char *const words[TELL_KINDS] = {
        [TELL_ACCEPTED] = "accepted", [TELL_REFUSED] = "refused", [TELL_DELIVERED] = "delivered",
        [TELL_WAITS] = "put off",     [TELL_FAILED] = "failed",
    };
    bool any = false;

    for (size_t i = 0; i < TELL_KINDS; i++) {
        if (t->samples[i])
            buf_fmt(out, "%s%llu %s",
                    any ? ", " : "sample mail: ", (unsigned long long)t->samples[i], words[i]);
        any = any || t->samples[i];
        t->samples[i] = 0;
    }
    if (any)
        buf_char(out, '\n');
}
