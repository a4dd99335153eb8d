/*
 * core/event.c - building events: one JSON object a line, in a buffer of the calling thread.
 *
 * Called by roles and trades. Never writes to a descriptor itself (event_sink.c does), never fails:
 * what does not fit is left out and the line says "truncated":true.
 */
#include <pthread.h>
#include <stdarg.h>

#include "core/clock.h"
#include "core/codec.h"
#include "core/event_sink.h"
#include "core/lang.h"

#define EVENT_LINE_MAX  (64u << 10) /* bytes of the fields of a line */
#define EVENT_VALUE_MAX (8u << 10)  /* bytes of one text, before escapes */
#define EVENT_TAIL      256         /* room kept for closing brackets and the end */
#define EVENT_DEPTH     16          /* objects and arrays within each other */

struct event {
    struct buf line;
    enum event_importance importance;
    unsigned depth;
    unsigned skipping; /* containers opened inside one that did not fit */
    bool truncated;
    bool has_cleanup;
    char closers[EVENT_DEPTH];
    uint64_t second; /* that second_text shows */
    struct str second_text;
    char second_room[24];
};

/* Notices have their own: a warning may be given while another event is being built. */
static _Thread_local struct event event_main, event_aside;

static pthread_once_t event_once = PTHREAD_ONCE_INIT;
static pthread_key_t event_key;
static bool event_key_made;

static void
event_thread_done(void *unused)
{
    (void)unused;
    buf_done(&event_main.line);
    buf_done(&event_aside.line);
}

static void
event_key_make(void)
{
    event_key_made = pthread_key_create(&event_key, event_thread_done) == 0;
}

static void
event_prepare(struct event *e)
{
    buf_init(&e->line, EVENT_LINE_MAX + EVENT_TAIL);
    e->second = UINT64_MAX;
    e->has_cleanup = true;
    pthread_once(&event_once, event_key_make);
    if (event_key_made)
        pthread_setspecific(event_key, e); /* not NULL: the buffers go when the thread ends */
}

/* Seconds change seldom: their text is made once and copied until then. */
static void
event_stamp(struct event *e)
{
    uint64_t now = clock_wall();
    uint64_t second = now / NS_PER_S;
    unsigned us = (unsigned)(now % NS_PER_S / NS_PER_US);
    char fraction[7] = {'.'};

    if (second != e->second) {
        size_t n =
            str_fmt(e->second_room, sizeof(e->second_room), "%llu", (unsigned long long)second);

        e->second_text = str_of(e->second_room, n);
        e->second = second;
    }
    for (unsigned i = 6; i > 0; i--, us /= 10)
        fraction[i] = (char)('0' + us % 10);
    buf_str(&e->line, STR("{\"timestamp\":"));
    buf_str(&e->line, e->second_text);
    buf_add(&e->line, fraction, sizeof(fraction));
}

static struct event *
event_start(struct event *e, const char *type)
{
    struct str name = str_c(type);

    if (!e->has_cleanup)
        event_prepare(e);
    buf_clear(&e->line);
    e->depth = e->skipping = 0;
    e->truncated = false;
    e->importance = EVENT_KEPT;
    if (str_eq(name, STR("Rejection")) || str_eq(name, STR("Debug")))
        e->importance = EVENT_SPARED;
    event_stamp(e);
    buf_str(&e->line, STR(",\"type\":"));
    buf_json(&e->line, name);
    event_sink_role(&e->line);
    return e;
}

struct event *
event_open(const char *type)
{
    return event_start(&event_main, type);
}

/* Begins a field: comma and key. Returns false if the field is to be left out. */
static bool
event_field(struct event *e, const char *key, size_t *ret_mark)
{
    struct buf *b = &e->line;

    *ret_mark = b->n;
    if (e->skipping)
        return false;
    if (b->n && b->p[b->n - 1] != '{' && b->p[b->n - 1] != '[')
        buf_char(b, ',');
    if (e->depth && e->closers[e->depth - 1] == ']')
        return true;  /* elements of an array have no key */
    buf_char(b, '"'); /* keys are words of ours */
    buf_str(b, str_c(key));
    buf_str(b, STR("\":"));
    return true;
}

/* Ends a field: it is there as a whole or not at all. */
static bool
event_field_end(struct event *e, size_t mark)
{
    if (!e->line.failed && e->line.n <= EVENT_LINE_MAX)
        return true;
    e->line.n = mark;
    e->line.failed = false;
    e->truncated = true;
    return false;
}

void
event_text(struct event *e, const char *key, struct str value)
{
    size_t mark;

    if (!event_field(e, key, &mark))
        return;
    if (value.n > EVENT_VALUE_MAX) {
        value.n = EVENT_VALUE_MAX;
        e->truncated = true;
    }
    buf_json(&e->line, value);
    event_field_end(e, mark);
}

void
event_c(struct event *e, const char *key, const char *value)
{
    event_text(e, key, str_c(value));
}

void
event_u64(struct event *e, const char *key, uint64_t value)
{
    size_t mark;

    if (!event_field(e, key, &mark))
        return;
    buf_u64(&e->line, value);
    event_field_end(e, mark);
}

void
event_bool(struct event *e, const char *key, bool value)
{
    size_t mark;

    if (!event_field(e, key, &mark))
        return;
    buf_str(&e->line, value ? STR("true") : STR("false"));
    event_field_end(e, mark);
}

void
event_id(struct event *e, const char *key, const uint8_t id[16])
{
    char text[27];

    codec_id_text(id, text);
    event_text(e, key, str_of(text, 26));
}

void
event_seconds(struct event *e, const char *key, uint64_t ns)
{
    size_t mark;

    if (!event_field(e, key, &mark))
        return;
    buf_u64(&e->line, ns / NS_PER_S);
    buf_fmt(&e->line, ".%06u", (unsigned)(ns % NS_PER_S / NS_PER_US));
    event_field_end(e, mark);
}

void
event_members(struct event *e, struct str members)
{
    struct buf *b = &e->line;
    size_t mark = b->n;

    if (e->skipping || !members.n)
        return;
    if (b->n && b->p[b->n - 1] != '{' && b->p[b->n - 1] != '[')
        buf_char(b, ',');
    buf_str(b, members);
    event_field_end(e, mark);
}

void
event_cut(struct event *e)
{
    e->truncated = true;
}

static void
event_container(struct event *e, const char *key, char opener, char closer)
{
    size_t mark;

    if (e->skipping || e->depth == EVENT_DEPTH) {
        e->skipping++;
        e->truncated = true;
        return;
    }
    event_field(e, key, &mark);
    buf_char(&e->line, opener);
    if (event_field_end(e, mark))
        e->closers[e->depth++] = closer;
    else
        e->skipping++; /* its fields go with it, until its event_end */
}

void
event_object(struct event *e, const char *key)
{
    event_container(e, key, '{', '}');
}

void
event_array(struct event *e, const char *key)
{
    event_container(e, key, '[', ']');
}

void
event_end(struct event *e)
{
    if (e->skipping) {
        e->skipping--;
        return;
    }
    ENSURE(e->depth > 0);
    buf_char(&e->line, e->closers[--e->depth]); /* EVENT_TAIL has room for all of them */
}

void
event_send(struct event *e)
{
    while (e->depth)
        event_end(e);
    if (e->truncated)
        buf_str(&e->line, STR(",\"truncated\":true"));
    buf_str(&e->line, STR("}\n"));
    event_sink_put(buf_view(&e->line), e->line.failed, e->importance);
    buf_clear(&e->line);
    buf_shrink(&e->line, 8192);
}

static void PRINTF_LIKE(2, 0) event_say(const char *type, const char *fmt, va_list ap)
{
    char text[2048];
    int n = vsnprintf(text, sizeof(text), lang_text(fmt), ap);
    struct str shown = str_of(text, n < 0 ? 0 : MIN((size_t)n, sizeof(text) - 1));
    struct event *e = event_start(&event_aside, type);

    event_text(e, "text", shown);
    event_send(e);
    event_sink_plain(type, shown);
}

void
event_notice(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    event_say("Notice", fmt, ap);
    va_end(ap);
}

void
event_warning(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    event_say("Warning", fmt, ap);
    va_end(ap);
}

void
event_alarm(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    event_say("Alarm", fmt, ap);
    va_end(ap);
}
