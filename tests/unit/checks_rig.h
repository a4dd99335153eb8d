/*
 * tests/unit/checks_rig.h - one check in a pipeline of its own, with settings and a resolver that
 * the test answers from a table.
 */
#ifndef GAPURA_CHECKS_RIG_H
#define GAPURA_CHECKS_RIG_H

#include <unistd.h>

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
    const struct rig_dns *answers;
    size_t nanswers;
    struct conf *conf;
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
    static const enum dns_type types[] = {DNS_A, DNS_AAAA, DNS_PTR};
    struct str all = wire_bytes(body, wire_left(body));

    (void)ctx;
    (void)type;
    fd_close(&fd);
    /* Whatever the order of a question's fields, its name stands in it. */
    for (size_t i = 0; i < rig.nanswers; i++) {
        if (str_find(all, str_c(rig.answers[i].name)) < 0)
            continue;
        for (size_t k = 0; k < ARRAY_LEN(types); k++) {
            if (rig.answers[i].type == types[k]) {
                rig_answer(id, str_c(rig.answers[i].name), types[k]);
                return;
            }
        }
    }
    rig_answer(id, STR("none"), DNS_PTR);
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
    return CHECK_ON;
}

static void
rig_open(const char *settings)
{
    static const struct chan_ops ours = {.message = rig_told, .closed = rig_nothing};
    static const struct chan_ops resolver = {.message = rig_asked, .closed = rig_nothing};
    static const struct conf_block *const blocks[] = {&settings_main_block};
    static struct conf_texts texts;
    struct conf_errors errs = {0};
    int fds[2];

    alarm(60);
    texts.n = 1;
    texts.items[0] = (struct conf_text){.path = STR("t"), .text = str_c(settings)};
    conf_parse(&rig.conf, &texts, blocks, 1, 1, &errs);
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
    loop_free(rig.loop);
    conf_free(rig.conf);
}

/* Runs the check from its stage to the one that waits for it; rig.facts are set by the caller. */
static void
rig_run(const struct check *check)
{
    const struct check *const rows[] = {check};
    uint64_t until = clock_mono() + 5 * NS_PER_S;
    struct loop_timer t;

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
    loop_timer_init(&t, rig.loop, rig_nothing, NULL);
    while (!rig.completions && clock_mono() < until) {
        loop_timer_set(&t, 20 * NS_PER_MS);
        loop_once(rig.loop, true);
    }
    loop_timer_stop(&t);
}

static void
rig_done(void)
{
    pipeline_done(&rig.line);
    arena_done(&rig.arena);
    memset(&rig.facts, 0, sizeof(rig.facts));
}

/* Name of the first finding, "" if none. */
__attribute__((unused)) static const char *
rig_found(void)
{
    return rig.verdict.first ? rig.verdict.first->name : "";
}

#endif
