/*
 * policy/pipeline.c - the plan of rows and a session's walk over it.
 *
 * Called by the gate. Rows are called from pipeline_run() and, when the resolver answers or the
 * deadline passes, from the loop. Never replies and never knows what a row looks for.
 */
#include <stdlib.h>

#include "core/clock.h"
#include "policy/pipeline.h"

enum run_state { RUN_IDLE, RUN_WAITS, RUN_AFTER, RUN_OVER };

struct check_ask {
    struct dns_ask ask;
    struct check_run *run;
    struct check_ask *next;
};

#define MEMORY_ALIGN 16u

const char *
stage_name(unsigned stage)
{
    static const char *const names[STAGE_MAX_] = {"connect", "helo",   "mail",
                                                  "rcpt",    "header", "body"};

    return stage < STAGE_MAX_ ? names[stage] : "none";
}

/* Adds the rows of one stage, cheap ones first. */
static int
plan_stage(struct stage_plan *plan, const struct check *const *checks, size_t n, enum stage stage,
           int (*mode)(void *ctx, const char *name), void *ctx)
{
    unsigned from = plan->n;

    for (size_t i = 0; i < n; i++) {
        const struct check *c = checks[i];
        unsigned at = plan->n;
        int m;

        if (c->stage != stage || c->place != CHECK_IN_GATE)
            continue;
        m = mode(ctx, c->name);
        if (m < 0)
            m = c->mode;
        if (m == CHECK_OFF)
            continue;
        if (plan->n == STAGE_ROWS_MAX)
            return ERR_LIMIT;
        for (; at > from && plan->rows[at - 1]->cost > c->cost; at--) {
            plan->rows[at] = plan->rows[at - 1];
            plan->modes[at] = plan->modes[at - 1];
        }
        plan->rows[at] = c;
        plan->modes[at] = (uint8_t)m;
        plan->n++;
        plan->memory += round_up(c->memory, MEMORY_ALIGN);
    }
    return 0;
}

int
stage_plan_build(struct stage_plan *ret, const struct check *const *checks, size_t n,
                 int (*mode)(void *ctx, const char *name), void *ctx, uint64_t deadline)
{
    struct stage_plan plan = {.deadline = deadline};
    int rc;

    for (unsigned s = 0; s < STAGE_MAX_; s++) {
        plan.first[s] = plan.n;
        rc = plan_stage(&plan, checks, n, (enum stage)s, mode, ctx);
        if (rc < 0)
            return rc;
    }
    plan.first[STAGE_MAX_] = plan.n;
    *ret = plan;
    return 0;
}

static void
ask_spare(struct pipeline *p, struct check_ask *ask)
{
    ask->run = NULL;
    ask->next = p->spare;
    p->spare = ask;
}

static void
run_cancel_asks(struct check_run *run)
{
    while (run->asks) {
        struct check_ask *ask = run->asks;

        run->asks = ask->next;
        dns_ask_cancel(&ask->ask);
        ask_spare(run->pipeline, ask);
    }
    run->nasks = 0;
}

/* Its answer is here: the question is open no more. */
static void
run_unlink(struct check_run *run, struct check_ask *ask)
{
    struct check_ask **at = &run->asks;

    while (*at != ask)
        at = &(*at)->next;
    *at = ask->next;
    run->nasks--;
    ask_spare(run->pipeline, ask);
}

/* A fresh run: nothing found, nothing asked. */
static void
run_reset(struct check_run *run)
{
    run_cancel_asks(run);
    if (run->check->memory)
        memset(run->memory, 0, run->check->memory);
    run->state = RUN_IDLE;
    run->wake = 0;
    run->decisive = NULL;
    run->answer = NULL;
    run->verdict = NULL;
}

/* Calls the row and keeps what it says; true if the rest of its stage need not run. */
static bool
run_call(struct check_run *run, enum check_event event)
{
    enum step step = run->check->run(run, event);

    /* A row that waits for nothing would wait for ever. */
    if (step == STEP_WAIT && run->asks && event != CHECK_TIMER) {
        run->state = RUN_WAITS;
        return false;
    }
    if (step == STEP_AFTER && event == CHECK_START) {
        run->state = RUN_AFTER;
        return false;
    }
    run_cancel_asks(run);
    run->state = RUN_OVER;
    return step == STEP_DONE || (run->decisive && run->decisive->action == VERDICT_REFUSE);
}

/* A row for strangers says nothing any more once the client has proved who it is. */
static bool
run_counts(const struct check_run *run)
{
    const struct stage_facts *facts = run->pipeline->facts;

    return run->check->all_clients || !(facts->trusted || facts->user.n);
}

/* Does what this row found decide at that stage? */
static bool
run_joins(const struct check_run *run, unsigned stage)
{
    return (run->check->join == stage || run->check->stage == stage) && run_counts(run);
}

static const struct finding *
pipeline_decisive(const struct pipeline *p, unsigned stage)
{
    const struct finding *decisive = NULL;

    for (unsigned i = 0; i < p->plan->first[stage + 1]; i++) {
        if (run_joins(&p->runs[i], stage))
            decisive = verdict_stronger(decisive, p->runs[i].decisive);
    }
    return decisive;
}

static bool
pipeline_waits(const struct pipeline *p, unsigned stage)
{
    for (unsigned i = 0; i < p->plan->first[stage + 1]; i++) {
        const struct check_run *run = &p->runs[i];

        if (run->state == RUN_WAITS && run->check->join <= stage && run_counts(run))
            return true;
    }
    return false;
}

/* Nothing is waited for: the rows that judge what the others found, one after the other. */
static void
pipeline_after(struct pipeline *p, unsigned stage)
{
    bool over = false;

    for (unsigned i = 0; i < p->plan->first[stage + 1] && !over; i++) {
        struct check_run *run = &p->runs[i];

        if (run->state != RUN_AFTER || run->check->join > stage || !run_counts(run))
            continue;
        if (pipeline_waits(p, stage))
            return; /* the one before it asks something itself */
        over = run_call(run, CHECK_AFTER);
    }
}

/* The stage that waits is over: its rows are let go and the owner is told. */
static void
pipeline_finish(struct pipeline *p)
{
    unsigned stage = p->stage;

    p->stage = STAGE_MAX_;
    loop_timer_stop(&p->timer);
    p->done(p->ctx, pipeline_decisive(p, stage));
}

/* The deadline: whoever still waits is called for the last time. */
static void
pipeline_over(struct pipeline *p)
{
    for (unsigned i = 0; i < p->plan->first[p->stage + 1]; i++) {
        struct check_run *run = &p->runs[i];

        if (run->check->join > p->stage)
            continue;
        if (run->state == RUN_WAITS)
            run_call(run, CHECK_TIMER);
    }
    for (unsigned i = 0; i < p->plan->first[p->stage + 1]; i++) {
        struct check_run *run = &p->runs[i];

        if (run->state == RUN_AFTER && run->check->join <= p->stage && run_counts(run))
            run_call(run, CHECK_AFTER);
        if (run->state == RUN_WAITS && run->check->join <= p->stage)
            run_call(run, CHECK_TIMER);
    }
    pipeline_finish(p);
}

/* To the deadline, or to the first row that wants to be called before. */
static void
pipeline_arm(struct pipeline *p)
{
    uint64_t now = clock_mono(), next = p->ends;

    for (unsigned i = 0; i < p->plan->first[p->stage + 1]; i++) {
        const struct check_run *run = &p->runs[i];

        if (run->state == RUN_WAITS && run->check->join <= p->stage && run->wake)
            next = MIN(next, run->wake);
    }
    loop_timer_set(&p->timer, MAX(next, now + NS_PER_MS) - now);
}

/* Something happened to a row: is the stage over? */
static void
pipeline_look(struct pipeline *p)
{
    if (pipeline_waits(p, p->stage)) {
        pipeline_arm(p);
        return;
    }
    pipeline_after(p, p->stage);
    if (pipeline_waits(p, p->stage))
        pipeline_arm(p);
    else
        pipeline_finish(p);
}

static void
pipeline_expired(void *ctx)
{
    struct pipeline *p = ctx;
    uint64_t now = clock_mono();

    if (p->stage == STAGE_MAX_)
        return;
    if (now >= p->ends) {
        pipeline_over(p);
        return;
    }
    for (unsigned i = 0; i < p->plan->first[p->stage + 1]; i++) {
        struct check_run *run = &p->runs[i];

        if (run->state != RUN_WAITS || run->check->join > p->stage || !run->wake || now < run->wake)
            continue;
        run->wake = 0;
        run_call(run, CHECK_WAKE);
    }
    pipeline_look(p);
}

static void
pipeline_answered(void *ctx, const struct dns_answer *answer)
{
    struct check_ask *ask = ctx;
    struct check_run *run = ask->run;
    struct pipeline *p = run->pipeline;

    run_unlink(run, ask);
    run->answer = answer;
    run_call(run, CHECK_DNS);
    run->answer = NULL;
    if (p->stage != STAGE_MAX_ && !p->inside)
        pipeline_look(p);
}

int
pipeline_init(struct pipeline *p, const struct stage_plan *plan, struct stage_facts *facts,
              struct loop *loop, struct dns_client *dns,
              void (*done)(void *ctx, const struct finding *decisive), void *ctx)
{
    size_t head = round_up(plan->n * sizeof(struct check_run), MEMORY_ALIGN);
    uint8_t *memory = NULL;

    *p = (struct pipeline){.plan = plan,
                           .facts = facts,
                           .loop = loop,
                           .dns = dns,
                           .done = done,
                           .ctx = ctx,
                           .stage = STAGE_MAX_};
    loop_timer_init(&p->timer, loop, pipeline_expired, p);
    if (!plan->n)
        return 0;
    memory = calloc(1, head + plan->memory);
    if (!memory)
        return ERR_NOMEM;
    p->runs = (struct check_run *)(void *)memory;
    memory += head;
    for (unsigned i = 0; i < plan->n; i++) {
        struct check_run *run = &p->runs[i];

        run->check = plan->rows[i];
        run->mode = plan->modes[i];
        run->pipeline = p;
        run->memory = memory;
        memory += round_up(run->check->memory, MEMORY_ALIGN);
    }
    return 0;
}

void
pipeline_stop(struct pipeline *p)
{
    if (!p->plan)
        return;
    for (unsigned i = 0; p->runs && i < p->plan->n; i++)
        run_cancel_asks(&p->runs[i]);
    loop_timer_stop(&p->timer);
    while (p->spare) {
        struct check_ask *next = p->spare->next;

        free(p->spare);
        p->spare = next;
    }
    free(p->runs);
    *p = (struct pipeline){.client_name = p->client_name, .stage = STAGE_MAX_};
}

void
pipeline_done(struct pipeline *p)
{
    pipeline_stop(p);
    free(p->client_name);
    p->client_name = NULL;
}

void
pipeline_forget(struct pipeline *p)
{
    if (!p->runs)
        return;
    for (unsigned i = p->plan->first[STAGE_MAIL]; i < p->plan->n; i++)
        run_reset(&p->runs[i]);
    if (p->stage != STAGE_MAX_ && p->stage >= STAGE_MAIL) {
        p->stage = STAGE_MAX_;
        loop_timer_stop(&p->timer);
    }
}

bool
pipeline_run(struct pipeline *p, enum stage stage, struct verdict *v,
             const struct finding **ret_decisive)
{
    unsigned from, to;
    bool over = false;

    *ret_decisive = NULL;
    if (!p->runs)
        return true;
    from = p->plan->first[stage];
    to = p->plan->first[stage + 1];
    for (unsigned i = from; i < to; i++)
        run_reset(&p->runs[i]);
    p->inside = true;
    for (unsigned i = from; i < to && !over; i++) {
        struct check_run *run = &p->runs[i];

        if (!run_counts(run))
            continue;
        run->verdict = v;
        over = run_call(run, CHECK_START);
    }
    if (!over && !pipeline_waits(p, stage))
        pipeline_after(p, stage);
    p->inside = false;
    *ret_decisive = pipeline_decisive(p, stage);
    if (*ret_decisive && (*ret_decisive)->action == VERDICT_REFUSE)
        return true;
    if (!pipeline_waits(p, stage))
        return true;
    p->stage = (uint8_t)stage;
    p->ends = clock_mono() + p->plan->deadline;
    pipeline_arm(p);
    return false;
}

void
check_find(struct check_run *run, const struct finding *f)
{
    struct finding finding = *f;
    const struct finding *kept;

    finding.check = run->check->name;
    finding.stage = (uint8_t)run->check->stage;
    finding.observed = f->observed || run->mode == CHECK_OBSERVE;
    if (run->check->stage == STAGE_RCPT)
        finding.rcpt = run->pipeline->facts->rcpt_number;
    kept = verdict_add(run->verdict, &finding);
    if (kept && verdict_replies(kept->action) && !kept->observed)
        run->decisive = verdict_stronger(run->decisive, kept);
}

const struct stage_facts *
check_facts(const struct check_run *run)
{
    return run->pipeline->facts;
}

int
check_ask(struct check_run *run, struct str name, enum dns_type type)
{
    struct pipeline *p = run->pipeline;
    struct check_ask *ask = p->spare;
    int rc;

    if (!p->dns)
        return ERR_UNSUPPORTED;
    if (run->nasks == CHECK_ASKS_MAX)
        return ERR_LIMIT;
    if (ask)
        p->spare = ask->next;
    else
        ask = calloc(1, sizeof(*ask));
    if (!ask)
        return ERR_NOMEM;
    ask->run = run;
    rc = dns_client_ask_for(p->dns, p->quota, name, type, &ask->ask, pipeline_answered, ask);
    if (rc < 0) {
        ask_spare(p, ask);
        return rc;
    }
    ask->next = run->asks;
    run->asks = ask;
    run->nasks++;
    return 0;
}

const struct dns_answer *
check_cached(const struct check_run *run, struct str name, enum dns_type type)
{
    struct dns_client *dns = run->pipeline->dns;

    return dns ? dns_client_cached(dns, name, type) : NULL;
}

void
check_wake(struct check_run *run, uint64_t ns)
{
    run->wake = clock_mono() + ns;
}

bool
check_hindered(const struct check_run *run)
{
    const struct dns_quota *quota = run->pipeline->quota;

    return quota && dns_quota_refused(quota);
}

void
check_client_name(struct check_run *run, struct str name)
{
    struct pipeline *p = run->pipeline;
    char *copy = malloc(name.n + 1);

    if (!copy)
        return;
    memcpy(copy, name.p, name.n);
    copy[name.n] = '\0';
    free(p->client_name);
    p->client_name = copy;
    p->facts->client_name = str_of(copy, name.n);
}
