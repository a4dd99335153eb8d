/*
 * tests/unit/test_policy_stage.c - verdicts and the pipeline, with rows and a resolver of the test.
 */
#include <unistd.h>

#include "core/clock.h"
#include "policy/pipeline.h"
#include "tap.h"

static struct loop *loop;
static struct dns_client *dns;
static struct chan *ours, *resolver;
static struct arena arena;
static struct verdict verdict;
static char ran[256];
static bool answer_now;
static uint64_t held_id;
static struct conf *no_conf;

static void
note(const char *what)
{
    size_t n = strlen(ran);

    str_fmt(ran + n, sizeof(ran) - n, "%s%s", n ? " " : "", what);
}

/* ---- rows ---- */

static void
find(struct check_run *run, uint8_t action)
{
    check_find(run, &(struct finding){.name = "found",
                                      .weight = 10,
                                      .action = action,
                                      .code = action == VERDICT_REFUSE ? 550 : 450,
                                      .enhanced = "5.7.1",
                                      .text = STR("no")});
}
static enum step
run_pass(struct check_run *run, enum check_event event)
{
    (void)event;
    note(run->check->name);
    find(run, VERDICT_PASS);
    return STEP_NEXT;
}
static enum step
run_refuse(struct check_run *run, enum check_event event)
{
    (void)event;
    note(run->check->name);
    find(run, VERDICT_REFUSE);
    return STEP_NEXT;
}
static enum step
run_temp(struct check_run *run, enum check_event event)
{
    (void)event;
    note(run->check->name);
    find(run, VERDICT_TEMPFAIL);
    return STEP_NEXT;
}
static enum step
run_ask(struct check_run *run, enum check_event event)
{
    uint32_t *n = run->memory;

    if (event == CHECK_START)
        return check_ask(run, STR("name.test"), DNS_A) == 0 &&
                       check_ask(run, STR("name.test"), DNS_AAAA) == 0
                   ? STEP_WAIT
                   : STEP_NEXT;
    if (event == CHECK_TIMER) {
        note("timer");
        return STEP_NEXT;
    }
    note("answer");
    if (++*n < 2)
        return STEP_WAIT;
    find(run, VERDICT_REFUSE);
    return STEP_NEXT;
}
static enum step
run_wait_for_nothing(struct check_run *run, enum check_event event)
{
    (void)event;
    note(run->check->name);
    return STEP_WAIT;
}

/* Judges what the others found; asks something itself first. */
static enum step
run_after(struct check_run *run, enum check_event event)
{
    if (event == CHECK_START)
        return STEP_AFTER;
    note(run->check->name);
    if (event == CHECK_AFTER)
        return check_ask(run, STR("name.test"), DNS_A) == 0 ? STEP_WAIT : STEP_NEXT;
    return STEP_NEXT;
}
static enum step
run_last(struct check_run *run, enum check_event event)
{
    if (event == CHECK_START)
        return STEP_AFTER;
    note(run->check->name);
    check_find(run, &(struct finding){.name = "seen", .weight = 500, .observed = true});
    return STEP_NEXT;
}
/* As many questions as one row may have open, and one more. */
static enum step
run_many(struct check_run *run, enum check_event event)
{
    char name[32];
    unsigned n = 0;

    while (event == CHECK_START && n < CHECK_ASKS_MAX) {
        str_fmt(name, sizeof(name), "n%u.test", n++);
        if (check_ask(run, str_c(name), DNS_A) < 0)
            note("refused");
    }
    if (event == CHECK_START && check_ask(run, STR("more.test"), DNS_A) == ERR_LIMIT)
        note("limit");
    return STEP_WAIT;
}

static const struct check row_after = {.name = "after",
                                       .stage = STAGE_BODY,
                                       .join = STAGE_BODY,
                                       .cost = 1,
                                       .mode = CHECK_ON,
                                       .run = run_after};
static const struct check row_last = {.name = "last",
                                      .stage = STAGE_BODY,
                                      .join = STAGE_BODY,
                                      .cost = 2,
                                      .mode = CHECK_ON,
                                      .run = run_last};
static const struct check row_body = {.name = "body",
                                      .stage = STAGE_BODY,
                                      .join = STAGE_BODY,
                                      .cost = 9,
                                      .mode = CHECK_ON,
                                      .run = run_pass};
static const struct check row_many = {.name = "many",
                                      .stage = STAGE_BODY,
                                      .join = STAGE_BODY,
                                      .cost = 5,
                                      .mode = CHECK_ON,
                                      .run = run_many};
static const struct check row_pass = {.name = "pass",
                                      .stage = STAGE_MAIL,
                                      .join = STAGE_MAIL,
                                      .cost = 5,
                                      .mode = CHECK_ON,
                                      .run = run_pass};
static const struct check row_cheap = {.name = "cheap",
                                       .stage = STAGE_MAIL,
                                       .join = STAGE_MAIL,
                                       .cost = 1,
                                       .mode = CHECK_ON,
                                       .run = run_pass};
static const struct check row_refuse = {.name = "refuse",
                                        .stage = STAGE_MAIL,
                                        .join = STAGE_MAIL,
                                        .cost = 2,
                                        .mode = CHECK_ON,
                                        .run = run_refuse};
static const struct check row_temp = {.name = "temp",
                                      .stage = STAGE_MAIL,
                                      .join = STAGE_MAIL,
                                      .cost = 1,
                                      .mode = CHECK_ON,
                                      .run = run_temp};
static const struct check row_all = {.name = "all",
                                     .stage = STAGE_MAIL,
                                     .join = STAGE_MAIL,
                                     .cost = 9,
                                     .mode = CHECK_ON,
                                     .all_clients = true,
                                     .run = run_pass};
static const struct check row_ask = {.name = "ask",
                                     .stage = STAGE_CONNECT,
                                     .join = STAGE_RCPT,
                                     .cost = 1,
                                     .mode = CHECK_ON,
                                     .memory = 4,
                                     .run = run_ask};
static const struct check row_ask_mail = {.name = "askmail",
                                          .stage = STAGE_MAIL,
                                          .join = STAGE_MAIL,
                                          .cost = 1,
                                          .mode = CHECK_ON,
                                          .memory = 4,
                                          .run = run_ask};
static const struct check row_nothing = {.name = "nothing",
                                         .stage = STAGE_MAIL,
                                         .join = STAGE_MAIL,
                                         .cost = 1,
                                         .mode = CHECK_ON,
                                         .run = run_wait_for_nothing};

/* ---- the resolver ---- */

static void
answer(uint64_t id, struct str name, enum dns_type type)
{
    struct dns_answer a = {.name = name, .type = type, .status = DNS_NODATA, .ttl = 5};
    struct buf b;

    buf_init(&b, 4096);
    dns_answer_encode(&b, &a);
    chan_send(resolver, DNS_MSG_ANSWER, id, &b, -1);
    buf_done(&b);
}

static void
resolver_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    struct str all = wire_bytes(body, wire_left(body));

    (void)ctx;
    (void)type;
    fd_close(&fd);
    held_id = id;
    /* The type is the question's only 28 (AAAA) or 1 (A). */
    if (answer_now)
        answer(id, STR("name.test"), memchr(all.p, DNS_AAAA, 3) ? DNS_AAAA : DNS_A);
}
static void
our_message(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx;
    fd_close(&fd);
    dns_client_message(dns, type, id, body);
}
static void
side_closed(void *ctx)
{
    (void)ctx;
}
static const struct chan_ops resolver_ops = {.message = resolver_message, .closed = side_closed};
static const struct chan_ops our_ops = {.message = our_message, .closed = side_closed};

/* ---- the pipeline ---- */

static struct stage_plan plan;
static struct pipeline line;
static struct stage_facts facts;
static const struct finding *decided;
static unsigned completions;

static int
mode_default(void *ctx, const char *name)
{
    (void)name;
    return ctx ? *(int *)ctx : -1;
}

static void
completed(void *ctx, const struct finding *decisive)
{
    (void)ctx;
    decided = decisive;
    completions++;
}

static void
begin(const struct check *const *rows, size_t n, int *mode, uint64_t deadline)
{
    facts = (struct stage_facts){.conf = no_conf};
    ran[0] = '\0';
    completions = 0;
    decided = NULL;
    arena_init(&arena, 1u << 16);
    verdict_init(&verdict, &arena);
    IS(stage_plan_build(&plan, rows, n, mode_default, mode, deadline), 0, "a plan");
    IS(pipeline_init(&line, &plan, &facts, loop, dns, completed, NULL), 0, "a pipeline");
}

static void
end(void)
{
    pipeline_done(&line);
    arena_done(&arena);
}

static void
turn_until(bool (*what)(void))
{
    uint64_t until = clock_mono() + 5 * NS_PER_S;
    struct loop_timer t;

    loop_timer_init(&t, loop, side_closed, NULL);
    while (!what() && clock_mono() < until) {
        loop_timer_set(&t, 20 * NS_PER_MS);
        loop_once(loop, true);
    }
    loop_timer_stop(&t);
}
static bool
is_complete(void)
{
    return completions > 0;
}

static void
test_order(void)
{
    const struct check *const rows[] = {&row_all, &row_pass, &row_cheap, &row_refuse};
    const struct finding *f;

    begin(rows, ARRAY_LEN(rows), NULL, NS_PER_S);
    OK(pipeline_run(&line, STAGE_MAIL, &verdict, &f), "no answers are awaited");
    TEXT(str_c(ran), "cheap refuse", "cheap ones first; a refusal ends the stage");
    OK(f && f->code == 550 && str_eq(f->text, STR("no")) && f->stage == STAGE_MAIL, "decided");
    IS(verdict.sum, 20, "sum");
    IS(verdict.n, 2, "two findings");
    OK(pipeline_run(&line, STAGE_HELO, &verdict, &f) && !f, "an empty stage");
    ran[0] = '\0';
    facts.user = STR("ann");
    OK(pipeline_run(&line, STAGE_MAIL, &verdict, &f) && !f, "a login");
    TEXT(str_c(ran), "all", "only rows for all clients run for logins");
    end();
}

static void
test_observe(void)
{
    const struct check *const rows[] = {&row_pass, &row_refuse};
    int observe = CHECK_OBSERVE, off = CHECK_OFF;
    const struct finding *f;

    begin(rows, ARRAY_LEN(rows), &observe, NS_PER_S);
    OK(pipeline_run(&line, STAGE_MAIL, &verdict, &f) && !f, "observed: nothing acts");
    TEXT(str_c(ran), "refuse pass", "all rows run");
    OK(verdict.first->observed && verdict.first->action == VERDICT_REFUSE, "what it would do");
    IS(verdict.sum, 0, "observed weights do not count");
    end();
    begin(rows, ARRAY_LEN(rows), &off, NS_PER_S);
    IS(plan.n, 0, "off: no rows");
    OK(pipeline_run(&line, STAGE_MAIL, &verdict, &f) && !f, "nothing to do");
    end();
}

static void
test_strength(void)
{
    const struct check *const rows[] = {&row_temp, &row_refuse, &row_nothing};
    const struct finding *f;

    begin(rows, ARRAY_LEN(rows), NULL, NS_PER_S);
    OK(pipeline_run(&line, STAGE_MAIL, &verdict, &f), "a row that waits for nothing is done");
    OK(f && f->action == VERDICT_REFUSE, "a refusal is stronger than a tempfail");
    end();
}

/* A row that starts at connect is waited for at rcpt; meanwhile other stages go on. */
static void
test_background(void)
{
    const struct check *const rows[] = {&row_ask, &row_pass};
    const struct finding *f;

    answer_now = true;
    begin(rows, ARRAY_LEN(rows), NULL, NS_PER_S);
    OK(pipeline_run(&line, STAGE_CONNECT, &verdict, &f) && !f, "connect does not wait");
    OK(pipeline_run(&line, STAGE_MAIL, &verdict, &f) && !f, "mail does not wait");
    OK(!pipeline_run(&line, STAGE_RCPT, &verdict, &f), "rcpt does");
    turn_until(is_complete);
    TEXT(str_c(ran), "pass answer answer", "both answers came");
    OK(decided && decided->code == 550 && decided->stage == STAGE_CONNECT, "and decide");
    OK(pipeline_run(&line, STAGE_RCPT, &verdict, &f) && f, "for the next recipient as well");
    facts.trusted = true;
    OK(pipeline_run(&line, STAGE_RCPT, &verdict, &f) && !f, "but not against a trusted client");
    end();
}

static void
test_deadline(void)
{
    const struct check *const rows[] = {&row_ask_mail};
    const struct finding *f;

    answer_now = false;
    dns_client_free(dns);
    dns = dns_client_create(loop, ours, 100);
    begin(rows, ARRAY_LEN(rows), NULL, 30 * NS_PER_MS);
    OK(!pipeline_run(&line, STAGE_MAIL, &verdict, &f), "waits");
    turn_until(is_complete);
    TEXT(str_c(ran), "timer", "the deadline ends it");
    OK(!decided, "nothing was found");
    IS(completions, 1, "told once");
    OK(!pipeline_run(&line, STAGE_MAIL, &verdict, &f), "again");
    pipeline_forget(&line);
    completions = 0;
    turn_until(is_complete);
    IS(completions, 0, "a forgotten stage does not come back");
    OK(!pipeline_run(&line, STAGE_MAIL, &verdict, &f), "and once more");
    end();
    OK(true, "freeing cancels");
}

/* Rows that judge the others come last, one at a time, also when the deadline ends the stage. */
static void
test_after(void)
{
    const struct check *const rows[] = {&row_after, &row_last, &row_body};
    const struct check *const slow[] = {&row_many, &row_after, &row_last};
    const struct finding *f;

    answer_now = true;
    begin(rows, ARRAY_LEN(rows), NULL, NS_PER_S);
    OK(!pipeline_run(&line, STAGE_BODY, &verdict, &f), "the first of them asks");
    TEXT(str_c(ran), "body after", "it runs behind dearer ones, and the second waits for it");
    turn_until(is_complete);
    TEXT(str_c(ran), "body after after last", "answer, then the second");
    OK(verdict.last->observed && verdict.sum == 10, "a row may call its finding observed");
    end();

    answer_now = false;
    dns_client_free(dns);
    dns = dns_client_create(loop, ours, 100);
    begin(slow, ARRAY_LEN(slow), NULL, 30 * NS_PER_MS);
    OK(!pipeline_run(&line, STAGE_BODY, &verdict, &f), "waits for many answers");
    TEXT(str_c(ran), "limit", "questions of one row have a ceiling");
    turn_until(is_complete);
    TEXT(str_c(ran), "limit after after last", "the deadline still runs them");
    IS(completions, 1, "told once");
    end();
}

static void
test_verdict(void)
{
    struct finding f = {.check = "c", .name = "n", .weight = 1, .rule = STR("r"), .text = STR("t")};

    arena_init(&arena, 1u << 16);
    verdict_init(&verdict, &arena);
    for (unsigned i = 0; i < VERDICT_FINDINGS_MAX + 5; i++)
        verdict_add(&verdict, &f);
    IS(verdict.n, VERDICT_FINDINGS_MAX, "a ceiling");
    IS(verdict.lost, 5, "counted");
    IS(verdict.sum, VERDICT_FINDINGS_MAX, "the sum is that of what is shown");
    OK(!verdict.decisive, "nothing decides");
    f.action = VERDICT_REFUSE;
    f.code = 550;
    verdict_add(&verdict, &f);
    OK(verdict.decisive && verdict.decisive->action == VERDICT_TEMPFAIL &&
           verdict.decisive->code == 451,
       "a lost refusal becomes a tempfail, not a pass");
    TEXT(str_c(verdict_action_name(VERDICT_REFUSE)), "refuse", "name");
    TEXT(str_c(verdict_action_name(99)), "pass", "no name");
    TEXT(str_c(stage_name(STAGE_BODY)), "body", "stage");
    arena_done(&arena);
}

int
main(void)
{
    int fds[2];

    alarm(60);
    loop = loop_create();
    chan_pair(fds);
    ours = chan_create(loop, fds[0], &our_ops, NULL);
    resolver = chan_create(loop, fds[1], &resolver_ops, NULL);
    dns = dns_client_create(loop, ours, 100);
    test_verdict();
    test_order();
    test_observe();
    test_strength();
    test_background();
    test_deadline();
    test_after();
    dns_client_free(dns);
    chan_free(ours);
    chan_free(resolver);
    loop_free(loop);
    return tap_done();
}
