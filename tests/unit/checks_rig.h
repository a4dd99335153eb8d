/*
 * tests/unit/checks_rig.h - one check in a pipeline of its own, with settings and a resolver that
 * the test answers from a table.
 */
#ifndef GAPURA_CHECKS_RIG_H
#define GAPURA_CHECKS_RIG_H

#include <unistd.h>

#include "auth/evidence.h"
#include "auth/zone.h"
#include "checks/table.h"
#include "core/clock.h"
#include "policy/pipeline.h"
#include "store/settings.h"
#include "tap.h"

struct rig_dns {
    const char *name;
    enum dns_type type;
    enum dns_status status;
    const char *value; /* address or name */
};

static struct {
    struct loop *loop;
    struct chan *ours, *resolver;
    struct dns_client *dns;
    struct zone *zone; /* answers everything if there is one */
    unsigned asked;
    bool silent;       /* the resolver never answers */
    uint64_t deadline; /* ns of a stage; 0: two seconds */
    size_t room;       /* bytes of a message's memory; 0: plenty */
    bool full;         /* no further answer of DNS can be kept */
    bool own_modes;    /* rows run in the mode that they say, not all on */
    const struct rig_dns *answers;
    size_t nanswers;
    struct conf *conf;
    struct auth_common *common;
    struct auth_evidence auth;
    struct address sender;
    struct arena arena;
    struct verdict verdict;
    struct stage_facts facts;
    struct stage_plan plan;
    struct pipeline line;
    const struct finding *decided;
    unsigned completions;
} rig;

static void
rig_answer(uint64_t id, struct str name, enum dns_type type)
{
    struct dns_record record = {.type = type};
    struct dns_answer a = {.name = name, .type = type, .status = DNS_NXDOMAIN, .ttl = 60};
    struct buf b;

    for (size_t i = 0; i < rig.nanswers; i++) {
        const struct rig_dns *d = &rig.answers[i];

        if (d->type != type || !str_eq(str_c(d->name), name))
            continue;
        a.status = d->status;
        if (d->value) {
            a.records = &record;
            a.n = 1;
            if (addr_parse(str_c(d->value), &record.addr) < 0)
                record.name = str_c(d->value);
        }
    }
    buf_init(&b, 4096);
    dns_answer_encode(&b, &a);
    chan_send(rig.resolver, DNS_MSG_ANSWER, id, &b, -1);
    buf_done(&b);
}

static void
rig_asked(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    enum dns_type wanted = (enum dns_type)wire_u16(body);
    struct str name = wire_str16(body);
    struct buf b;

    (void)ctx;
    (void)type;
    fd_close(&fd);
    rig.asked++;
    if (rig.silent)
        return;
    if (!rig.zone) {
        rig_answer(id, name, wanted);
        return;
    }
    buf_init(&b, 1u << 16);
    dns_answer_encode(&b, zone_lookup(rig.zone, name, wanted));
    chan_send(rig.resolver, DNS_MSG_ANSWER, id, &b, -1);
    buf_done(&b);
}
static void
rig_told(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx;
    fd_close(&fd);
    dns_client_message(rig.dns, type, id, body);
}
static void
rig_nothing(void *ctx)
{
    (void)ctx;
}
static void
rig_completed(void *ctx, const struct finding *decisive)
{
    (void)ctx;
    rig.decided = decisive;
    rig.completions++;
}
static int
rig_mode(void *ctx, const char *name)
{
    (void)ctx;
    (void)name;
    return rig.own_modes ? -1 : CHECK_ON;
}

static void
rig_open(const char *settings)
{
    static const struct chan_ops ours = {.message = rig_told, .closed = rig_nothing};
    static const struct chan_ops resolver = {.message = rig_asked, .closed = rig_nothing};
    static const struct conf_block *const blocks[] = {&settings_main_block, &auth_verify_block,
                                                      &auth_dns_list_block};
    static struct conf_texts texts;
    struct conf_errors errs = {0};
    int fds[2];

    alarm(60);
    texts.n = 1;
    texts.items[0] = (struct conf_text){.path = STR("t"), .text = str_c(settings)};
    conf_parse(&rig.conf, &texts, blocks, ARRAY_LEN(blocks), 1, &errs);
    conf_errors_done(&errs);
    rig.loop = loop_create();
    chan_pair(fds);
    rig.ours = chan_create(rig.loop, fds[0], &ours, NULL);
    rig.resolver = chan_create(rig.loop, fds[1], &resolver, NULL);
    rig.dns = dns_client_create(rig.loop, rig.ours, 100);
    OK(rig.conf && rig.dns, "settings and a resolver");
}

static void
rig_close(void)
{
    dns_client_free(rig.dns);
    chan_free(rig.ours);
    chan_free(rig.resolver);
    auth_common_free(rig.common);
    zone_free(rig.zone);
    loop_free(rig.loop);
    conf_free(rig.conf);
}

static void
rig_wait(void)
{
    uint64_t until = clock_mono() + 5 * NS_PER_S;
    struct loop_timer t;

    loop_timer_init(&t, rig.loop, rig_nothing, NULL);
    while (!rig.completions && clock_mono() < until) {
        loop_timer_set(&t, 20 * NS_PER_MS);
        loop_once(rig.loop, true);
    }
    loop_timer_stop(&t);
}

/* Runs the check from its stage to the one that waits for it; rig.facts are set by the caller. */
__attribute__((unused)) static void
rig_run(const struct check *check)
{
    const struct check *const rows[] = {check};

    rig.decided = NULL;
    rig.completions = 0;
    rig.facts.conf = rig.conf;
    rig.facts.hostname = STR("mx.gate.test");
    arena_init(&rig.arena, 1u << 16);
    verdict_init(&rig.verdict, &rig.arena);
    stage_plan_build(&rig.plan, rows, 1, rig_mode, NULL, 2 * NS_PER_S);
    pipeline_init(&rig.line, &rig.plan, &rig.facts, rig.loop, rig.dns, rig_completed, NULL);
    if (pipeline_run(&rig.line, check->stage, &rig.verdict, &rig.decided) &&
        (check->join == check->stage ||
         pipeline_run(&rig.line, check->join, &rig.verdict, &rig.decided)))
        return;
    rig_wait();
}

static void
rig_done(void)
{
    pipeline_done(&rig.line);
    auth_evidence_close(&rig.auth);
    arena_done(&rig.arena);
    memset(&rig.facts, 0, sizeof(rig.facts));
}

__attribute__((unused)) static void
rig_zone(const char *text)
{
    struct why why = {""};

    rig.zone = zone_create(1u << 20);
    OK(rig.zone && zone_read(rig.zone, str_c(text), &why) == 0, "a zone %s", why.text);
    OK(auth_common_create(&rig.common, conf_get(rig.conf, "verify"), STR("mx.gate.test"), STR_NONE,
                          &why) == 0 &&
           auth_common_lists(rig.common, rig.conf, &why) == 0,
       "what verification shares %s", why.text);
}

/* A stranger's message through MAIL, HEADER and BODY; the first decisive finding ends it. `text` is
 * the message with CRLF line ends; rig.facts may hold more. rig_done() ends it. */
__attribute__((unused)) static void
rig_mail(const struct check *const *checks, size_t n, const char *client, const char *helo,
         const char *from, const char *text)
{
    static const enum stage stages[] = {STAGE_MAIL, STAGE_HEADER, STAGE_BODY};
    struct str all = str_c(text), header = all;
    ssize_t end = str_find(all, STR("\r\n\r\n"));

    if (end >= 0)
        header = str_sub(all, 0, (size_t)end + 4);
    rig.decided = NULL;
    rig.facts.conf = rig.conf;
    rig.facts.hostname = STR("mx.gate.test");
    rig.facts.helo = str_c(helo);
    addr_parse(str_c(client), &rig.facts.client.addr);
    rig.sender = (struct address){.null = true};
    if (from[0])
        IS(address_parse(str_c(from), 0, &rig.sender), 0, "a sender");
    arena_init(&rig.arena, rig.room ? rig.room : 8u << 20);
    verdict_init(&rig.verdict, &rig.arena);
    auth_evidence_open(&rig.auth, rig.common, &rig.arena, &rig.facts.client.addr, rig.facts.helo,
                       rig.sender.local, rig.sender.domain, clock_wall_s(), clock_mono());
    for (unsigned i = 0; rig.full && i < AUTH_KNOWN_MAX; i++) {
        struct auth_question q = {.type = DNS_TXT};

        q.n = str_fmt(q.name, sizeof(q.name), "x%u.test", i);
        auth_known_fail(&rig.auth.known, &q);
    }
    rig.facts.auth = &rig.auth;
    rig.facts.sender = &rig.sender;
    stage_plan_build(&rig.plan, checks, n, rig_mode, NULL,
                     rig.deadline ? rig.deadline : 2 * NS_PER_S);
    pipeline_init(&rig.line, &rig.plan, &rig.facts, rig.loop, rig.dns, rig_completed, NULL);
    for (size_t i = 0; i < ARRAY_LEN(stages) && !rig.decided; i++) {
        if (stages[i] == STAGE_HEADER) {
            auth_evidence_header(&rig.auth, header);
            auth_evidence_body(&rig.auth, all.p + header.n, all.n - header.n);
            rig.facts.header = header;
        }
        rig.completions = 0;
        if (!pipeline_run(&rig.line, stages[i], &rig.verdict, &rig.decided))
            rig_wait();
    }
}

/* "check/name=weight ..." of all findings; an observed one in (), a refusal with its codes. */
__attribute__((unused)) static const char *
rig_findings(void)
{
    static char text[4096];
    size_t n = 0;

    text[0] = '\0';
    for (const struct finding *f = rig.verdict.first; f; f = f->next) {
        n += str_fmt(text + n, sizeof(text) - n, "%s%s%s/%s=%d", n ? " " : "",
                     f->observed ? "(" : "", f->check, f->name, f->weight);
        if (f->action != VERDICT_PASS)
            n += str_fmt(text + n, sizeof(text) - n, ":%u %s", f->code, f->enhanced);
        if (f->observed)
            n += str_fmt(text + n, sizeof(text) - n, ")");
    }
    return text;
}

/* Name of the first finding, "" if none. */
__attribute__((unused)) static const char *
rig_found(void)
{
    return rig.verdict.first ? rig.verdict.first->name : "";
}

#endif
