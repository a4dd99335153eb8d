/*
 * authtool/source.c - questions of the evaluators, answered from a file or by DNS.
 *
 * Called by the verbs. With --dns not a packet leaves the machine.
 */
#include "authtool/source.h"

#include "auth/zone.h"
#include "authtool/inner.h"
#include "authtool/input.h"
#include "core/clock.h"
#include "net/dns_direct.h"

#define ZONE_MAX      (64u << 20)
#define ANSWERS_MAX   1024u
#define ANSWERS_BYTES (16u << 20)
#define TIMEOUT_NS    (20 * NS_PER_S)
#define TIMEOUT_MAX   (600 * NS_PER_S)
#define BATCH         128u

struct tool_source {
    struct zone *zone; /* or NULL: */
    struct dns_direct *dns;
    struct arena arena; /* of DNS's answers */
    const struct dns_answer *items[ANSWERS_MAX];
    struct auth_answers known;
    uint64_t began;
    unsigned rounds;
    struct str silent;
};

static int
open_zone(struct tool_source *s, const char *path, struct why *why)
{
    CLEANUP(buf_done) struct buf text = {0};
    struct why line = {{0}};
    int rc = tool_input_read(path, INPUT_FILE_MAX, &text, why);

    if (rc < 0)
        return rc;
    s->zone = zone_create(ZONE_MAX);
    if (!s->zone)
        return why_set(why, ERR_NOMEM, "no memory for the zone");
    rc = zone_read(s->zone, buf_view(&text), &line);
    return rc < 0 ? why_set(why, rc, "%.100s: %.140s", path, line.text) : 0;
}

static int
open_dns(struct tool_source *s, const struct args *a, struct why *why)
{
    const char *server = tool_option(a, "resolver"), *timeout = tool_option(a, "timeout");
    struct endpoint e = {.port = 53};
    uint64_t ns = TIMEOUT_NS;

    if (server && endpoint_parse(str_c(server), 53, &e) < 0 &&
        addr_parse(str_c(server), &e.addr) < 0)
        return why_set(why, ERR_SYNTAX,
                       "--resolver: `%.60s` is no address; write for example 192.0.2.53, "
                       "127.0.0.1:5353 or [::1]:53",
                       server);
    if (timeout)
        (void)str_duration(str_c(timeout), &ns); /* args_parse has read it before */
    if (ns > TIMEOUT_MAX)
        return why_set(why, ERR_SYNTAX, "--timeout: at most 10m");
    return dns_direct_create(&s->dns, server ? &e : NULL, ns, why);
}

int
tool_source_open(const struct args *a, struct tool_source **ret, struct why *why)
{
    const char *path = tool_option(a, "dns");
    struct tool_source *s;
    int rc;

    if (path && (tool_option(a, "resolver") || tool_option(a, "timeout")))
        return why_set(why, ERR_SYNTAX,
                       "--dns answers everything: nobody is asked, so --resolver and --timeout "
                       "have no place beside it");
    if (path && !strcmp(path, "-"))
        return why_set(why, ERR_SYNTAX, "--dns takes a file, standard input may hold the message");
    s = calloc(1, sizeof(*s));
    if (!s)
        return why_set(why, ERR_NOMEM, "out of memory");
    s->began = clock_mono();
    s->known.items = s->items;
    arena_init(&s->arena, ANSWERS_BYTES);
    rc = path ? open_zone(s, path, why) : open_dns(s, a, why);
    if (rc < 0) {
        tool_source_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void
tool_source_close(struct tool_source *s)
{
    if (!s)
        return;
    zone_free(s->zone);
    dns_direct_free(s->dns);
    arena_done(&s->arena);
    free(s);
}

const struct auth_answers *
tool_source_answers(const struct tool_source *s)
{
    return s->zone ? zone_answers(s->zone) : &s->known;
}

uint64_t
tool_source_elapsed(const struct tool_source *s)
{
    return clock_mono() - s->began;
}

struct str
tool_source_silent(const struct tool_source *s)
{
    return s->silent;
}

/* The names for which there was no answer are told: the verdict hangs on them. */
static void
note_silent(struct tool_source *s, const struct dns_answer *a)
{
    if (a->status == DNS_TEMPORARY || a->status == DNS_BOGUS)
        s->silent = a->name;
}

static bool
ask_zone(struct tool_source *s, struct auth_needs *needs)
{
    size_t before = zone_answers(s->zone)->n;

    if (needs->n && zone_ask(s->zone, needs) < 0)
        return false;
    for (size_t i = before; i < zone_answers(s->zone)->n; i++)
        note_silent(s, zone_answers(s->zone)->items[i]);
    return true;
}

/* Two evaluators may need the same; asked once, it is known once. */
static bool
is_among(const struct dns_direct_question *q, size_t n, const struct auth_question *one)
{
    for (size_t i = 0; i < n; i++)
        if (q[i].type == one->type && str_eq(q[i].name, str_of(one->name, one->n)))
            return true;
    return false;
}

static bool
ask_dns(struct tool_source *s, struct auth_needs *needs, size_t n)
{
    struct dns_direct_question q[BATCH];
    const struct dns_answer *got[BATCH];
    size_t count = 0;

    for (size_t k = 0; k < n; k++)
        for (unsigned i = 0; i < needs[k].n && count < BATCH; i++) {
            const struct auth_question *one = &needs[k].items[i];

            if (!is_among(q, count, one))
                q[count++] = (struct dns_direct_question){str_of(one->name, one->n), one->type};
        }
    if (s->known.n + count > ANSWERS_MAX || dns_direct_ask(s->dns, q, count, &s->arena, got) < 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        s->items[s->known.n++] = got[i];
        note_silent(s, got[i]);
    }
    for (size_t k = 0; k < n; k++)
        needs[k].n = 0;
    return true;
}

bool
tool_source_ask(struct tool_source *s, struct auth_needs *needs, size_t n)
{
    size_t open = 0;

    for (size_t k = 0; k < n; k++)
        open += needs[k].n;
    if (!open || ++s->rounds > SOURCE_ROUNDS_MAX)
        return false;
    if (!s->zone)
        return ask_dns(s, needs, n);
    for (size_t k = 0; k < n; k++)
        if (!ask_zone(s, &needs[k]))
            return false;
    return true;
}
