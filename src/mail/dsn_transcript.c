/*
 * mail/dsn_transcript.c - sessions as reports print them: what was asked, what was answered, and
 * which recipient it cost ("<<< 550 ...", "550 <a@b>... User unknown", "Out: 451 ...").
 *
 * Called by mail/dsn_text, for reports without machine fields and to fill what those leave out.
 */
#include "mail/dsn_lines.h"

#define SPOKEN_MAX 1000u
#define ASKED_MAX  50u

static const struct {
    const char *mark;
    bool reply; /* the server's turn; else ours */
} turns[] = {
    {"sent <<< ", false}, {"received >>> ", true}, {">>> ", false},
    {"<<<", true},        {"in: ", false},         {"out: ", true},
};

static const struct {
    const char *verb;
    enum dsn_phase phase;
} verbs[] = {
    {"rcpt", DSN_PHASE_RCPT},    {"mail", DSN_PHASE_MAIL}, {"data", DSN_PHASE_DATA},
    {"bdat", DSN_PHASE_DATA},    {".", DSN_PHASE_DATA},    {"helo", DSN_PHASE_HELO},
    {"ehlo", DSN_PHASE_HELO},    {"lhlo", DSN_PHASE_HELO}, {"rset", DSN_PHASE_UNKNOWN},
    {"quit", DSN_PHASE_UNKNOWN},
};

struct listen {
    struct arena *arena;
    struct dsn_spoken *items;
    unsigned n, cap;
    enum dsn_phase phase;
    struct str asked[ASKED_MAX]; /* addresses of RCPT since the last MAIL */
    unsigned nasked;
    struct buf pending; /* a failure that no recipient has taken yet */
    uint16_t code;      /* of it */
    struct str note;    /* the line before, of a local program: "mail.local: unknown user: a" */
    bool bare;          /* the last verdict had no words: those of the next line are its own */
};

/* reply: in the arena, since all that were asked share it */
static void
listen_add(struct listen *l, struct str address, struct str reply)
{
    struct dsn_spoken s = {
        .address = arena_str(l->arena, address), .reply = reply, .phase = l->phase};

    if (l->n >= SPOKEN_MAX || !s.address.p || !s.reply.p)
        return;
    if (l->n == l->cap) {
        struct dsn_spoken *more = ARENA_ARRAY(l->arena, struct dsn_spoken, 2 * l->cap + 8);

        if (!more)
            return;
        if (l->n)
            memcpy(more, l->items, l->n * sizeof(*more));
        l->items = more;
        l->cap = 2 * l->cap + 8;
    }
    l->items[l->n++] = s;
}

/* What was said and belongs to nobody yet: to the recipient asked about; behind DATA to all that
 * were; else to nobody by name. */
static void
listen_flush(struct listen *l)
{
    unsigned from = l->phase == DSN_PHASE_RCPT && l->nasked ? l->nasked - 1 : 0;
    bool named = l->phase == DSN_PHASE_RCPT || l->phase == DSN_PHASE_DATA;

    if (l->pending.n && !l->pending.failed && l->n < SPOKEN_MAX) {
        struct str reply = arena_str(l->arena, buf_view(&l->pending));

        for (unsigned i = from; named && i < l->nasked; i++)
            listen_add(l, l->asked[i], reply);
        if (!named || !l->nasked)
            listen_add(l, STR_NONE, reply);
    }
    buf_clear(&l->pending);
    l->code = 0;
}

static void
listen_command(struct listen *l, struct str s)
{
    size_t start, end;
    struct str address;

    listen_flush(l);
    l->phase = DSN_PHASE_UNKNOWN;
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (!dsn_ifind(str_sub(s, 0, strlen(verbs[i].verb)), 0, str_c(verbs[i].verb)))
            l->phase = verbs[i].phase;
    if (l->phase == DSN_PHASE_MAIL)
        l->nasked = 0;
    if (l->phase == DSN_PHASE_RCPT && l->nasked < ASKED_MAX &&
        dsn_address_find(s, 0, &start, &end, &address))
        l->asked[l->nasked++] = address;
}

static void
listen_reply(struct listen *l, struct str s)
{
    struct dsn_said said;
    bool goes_on;

    dsn_said_find(s, &said);
    goes_on = l->code && said.code == l->code && said.at == 0;
    if (!said.code && !l->code)
        return; /* a success */
    /* "503 need RCPT" answers our own pipelining: it explains nothing that came before it. */
    if (said.code && !goes_on && l->code) {
        if (said.code == 503 || said.code == 554)
            return;
        listen_flush(l);
    }
    if (said.code)
        l->code = said.code;
    if (l->pending.n)
        buf_char(&l->pending, '\n');
    buf_str(&l->pending, s);
}

static bool
says_name(struct str note, struct str address)
{
    struct str rest, local = str_cut(address, '@', &rest);

    return local.n > 1 && str_find(note, local) >= 0;
}

/* Words behind a verdict that had none. */
static void
listen_more(struct listen *l, struct str s)
{
    struct dsn_spoken *last = &l->items[l->n - 1];

    l->bare = false;
    last->reply = arena_fmt(l->arena, "%.*s %.*s", STR_ARG(last->reply), STR_ARG(s));
}

/* "550 5.1.1 <a@b>... User unknown" and "<a@b>... Deferred: 421": the verdict on a recipient. */
static bool
listen_verdict(struct listen *l, struct str s)
{
    struct dsn_said said, inner;
    struct str address, rest, own = s;
    size_t start, end;

    if (!dsn_address_find(s, 0, &start, &end, &address))
        return false;
    rest = str_from(s, end);
    if (!str_starts(rest, STR("...")) || start > 16)
        return false;
    rest = str_trim(str_from(rest, 3));
    dsn_said_find(s, &said);
    dsn_said_find(rest, &inner);
    if ((inner.code && (inner.at == 0 || !said.code)) || !said.code)
        own = rest;
    if (!l->pending.n && says_name(l->note, address)) {
        buf_str(&l->pending, own);
        buf_c(&l->pending, ": ");
        buf_str(&l->pending, l->note);
    }
    l->bare = l->pending.n && l->pending.n < 8 && rest.n < 16;
    if (l->pending.n && !l->pending.failed) {
        if (l->pending.n < 8) { /* a bare code: the verdict has the words */
            buf_char(&l->pending, ' ');
            buf_str(&l->pending, rest);
        }
        own = buf_view(&l->pending);
    }
    listen_add(l, address, arena_str(l->arena, own));
    buf_clear(&l->pending);
    l->code = 0;
    return true;
}

static bool
listen_is_reply(struct str s)
{
    struct dsn_said said;

    dsn_said_find(s, &said);
    return said.code && !said.at;
}

static unsigned
transcript_read(const struct dsn_lines *lines, struct arena *arena, struct dsn_spoken **ret)
{
    struct listen l = {.arena = arena};
    bool in_session = false;

    buf_init(&l.pending, 8192);
    for (unsigned i = 0; i < lines->n; i++) {
        struct str s = lines->items[i].s;
        bool taken = false;

        if (dsn_ifind(s, 0, STR("transcript of session")) >= 0 ||
            dsn_ifind(s, 0, STR("while talking to")) >= 0)
            in_session = true;
        for (size_t k = 0; k < ARRAY_LEN(turns) && !taken && s.n; k++) {
            struct str mark = str_c(turns[k].mark);

            if (dsn_ifind(str_sub(s, 0, mark.n), 0, mark))
                continue;
            taken = in_session = true;
            s = str_trim(str_from(s, mark.n));
            if (turns[k].reply)
                listen_reply(&l, s);
            else
                listen_command(&l, s);
        }
        if (taken || !in_session || !s.n || listen_verdict(&l, s))
            continue;
        if (l.bare && l.n) {
            listen_more(&l, s);
        } else if (!l.pending.n && listen_is_reply(s)) {
            l.phase = DSN_PHASE_UNKNOWN; /* its own words: "550 b.test (smtp)... Host unknown" */
            listen_reply(&l, s);
        } else {
            l.note = s;
        }
    }
    listen_flush(&l);
    buf_done(&l.pending);
    *ret = l.items;
    return l.n;
}

void
dsn_speech_read(struct dsn_speech *s, const struct dsn_lines *lines, struct arena *arena)
{
    *s = (struct dsn_speech){.n = 0};
    map_init(&s->by_address, SPOKEN_MAX + 1, true);
    s->n = transcript_read(lines, arena, &s->items);
    for (unsigned i = 0; i < s->n; i++) {
        struct dsn_spoken *one = &s->items[i];

        if (!one->address.n && !s->any)
            s->any = one;
        if (one->address.n && !map_get(&s->by_address, one->address))
            (void)map_put(&s->by_address, one->address, one);
    }
}

void
dsn_speech_done(struct dsn_speech *s)
{
    map_done(&s->by_address);
}

const struct dsn_spoken *
dsn_speech_of(const struct dsn_speech *s, struct str address)
{
    const struct dsn_spoken *one = address.n ? map_get(&s->by_address, address) : NULL;

    return one ? one : s->any;
}
