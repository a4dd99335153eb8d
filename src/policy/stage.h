/*
 * policy/stage.h - stages of a session and the checks that run in them.
 *
 * A check is one row: it knows the facts, adds findings and says whether it is done. It may not
 * reply, not write, not touch another check. The plan is an array of rows ordered by stage and
 * cost, built once from the settings; a pipeline is one session's walk over it.
 *
 * One message's way: pipeline_run(CONNECT) -> rows of the stage start in order; one that must ask
 * the resolver returns STEP_WAIT and is called again with CHECK_DNS -> when all rows that this
 * stage has to wait for are done, or the deadline has passed, the decisive finding is known ->
 * HELO, MAIL, RCPT (for each recipient anew), HEADER, BODY. A row whose `join` is a later stage
 * goes on in the background until that stage needs its answer. Everything is cancelled by
 * pipeline_done() or, for a message's rows, by pipeline_forget().
 */
#ifndef GAPURA_POLICY_STAGE_H
#define GAPURA_POLICY_STAGE_H

#include "core/conf.h"
#include "mail/address.h"
#include "net/dns.h"
#include "policy/verdict.h"

enum stage {
    STAGE_CONNECT,
    STAGE_HELO,
    STAGE_MAIL,
    STAGE_RCPT,
    STAGE_HEADER,
    STAGE_BODY,
    STAGE_MAX_
};
const char *stage_name(unsigned stage);

enum step {
    STEP_NEXT, /* this row is done, the next one may run */
    STEP_WAIT, /* waits for the answers it asked for */
    STEP_DONE, /* this row is done and the rest of the stage need not run */
};
enum check_event {
    CHECK_START,
    CHECK_DNS,   /* run->answer */
    CHECK_TIMER, /* the deadline: the last call of this run */
};
enum check_place { CHECK_IN_GATE, CHECK_IN_SCAN };
enum check_mode { CHECK_OFF, CHECK_OBSERVE, CHECK_ON };
/* What the gate found out about a recipient before the checks are asked. */
enum stage_rcpt {
    STAGE_RCPT_TAKEN,      /* served here and exists, or the client may relay */
    STAGE_RCPT_NOT_SERVED, /* not our domain, and this client may not relay */
    STAGE_RCPT_UNKNOWN,    /* our domain, no such recipient */
    STAGE_RCPT_LATER,      /* cannot be said now */
};
/* Facts known so far; views live as long as what they describe. Later stages know more. */
struct stage_facts {
    const struct conf *conf; /* settings of the session, for rows that have their own */
    struct str hostname;     /* ours */
    struct endpoint client;
    bool trusted; /* from a trusted network: rows for strangers are left out */
    bool tls, esmtp;
    struct str user;        /* login, empty if none */
    struct str client_name; /* confirmed reverse name; set by check_client_name() */
    struct str helo;
    const struct address *sender;
    const struct address *rcpt;
    uint32_t rcpt_number; /* of the message's recipients, from 1 */
    uint8_t rcpt_state;   /* enum stage_rcpt */
    bool rcpt_flood;      /* this network has asked for too many unknown recipients */
    struct str rcpt_why;  /* a sentence from whoever knows recipients; may be empty */
    uint16_t rcpt_code;   /* and the reply that it asked for; 0: the usual one */
    const char *rcpt_enhanced;
    struct str header; /* HEADER and BODY: the header block */
};

struct check_run;
struct check {
    const char *name; /* settings "check NAME", metric label, prefix of findings */
    enum stage stage; /* where it starts */
    enum stage join;  /* which stage waits for it; at least `stage` */
    enum check_place place;
    unsigned cost;                 /* cheap ones first in a stage */
    bool all_clients;              /* runs for trusted networks and logins too */
    enum check_mode mode;          /* when no settings block says otherwise */
    const struct conf_block *conf; /* its own settings, or NULL */
    size_t memory;                 /* bytes of zeroed state of one run */
    enum step (*run)(struct check_run *, enum check_event);
};

#define STAGE_ROWS_MAX 32u
struct stage_plan {
    const struct check *rows[STAGE_ROWS_MAX];
    uint8_t modes[STAGE_ROWS_MAX]; /* enum check_mode, never OFF */
    unsigned n;
    unsigned first[STAGE_MAX_ + 1]; /* rows of stage s: first[s] .. first[s + 1] - 1 */
    size_t memory;                  /* of all rows */
    uint64_t deadline;              /* ns that one stage may wait for answers */
};
/* mode() gives the mode of a row by settings, or a negative number for the row's own.
 * ERR_LIMIT: more rows than the plan holds. */
int stage_plan_build(struct stage_plan *ret, const struct check *const *checks, size_t n,
                     int (*mode)(void *ctx, const char *name), void *ctx, uint64_t deadline);

#define CHECK_ASKS 2u
struct pipeline;
struct check_ask {
    struct dns_ask ask;
    struct check_run *run;
};
struct check_run { /* one row in one session */
    const struct check *check;
    struct pipeline *pipeline;
    void *memory;
    const struct dns_answer *answer; /* CHECK_DNS */
    struct verdict *verdict;         /* where findings go */
    const struct finding *decisive;
    struct check_ask asks[CHECK_ASKS];
    uint8_t asked; /* bit i: asks[i] is open */
    uint8_t state, mode;
};
/* For rows. Texts are copied. Stage, check, observed and rcpt are filled in here. */
void check_find(struct check_run *, const struct finding *f);
const struct stage_facts *check_facts(const struct check_run *);
/* 0, ERR_LIMIT (too many at once) or ERR_UNSUPPORTED (no resolver): then no answer comes. */
int check_ask(struct check_run *, struct str name, enum dns_type type);
void check_client_name(struct check_run *, struct str name); /* copied */

struct pipeline {
    const struct stage_plan *plan;
    struct stage_facts *facts;
    struct loop *loop;
    struct dns_client *dns; /* may be NULL */
    struct check_run *runs; /* plan->n, and their memory behind them */
    char *client_name;
    struct loop_timer timer;
    void (*done)(void *ctx, const struct finding *decisive);
    void *ctx;
    uint8_t stage; /* the one that waits; STAGE_MAX_ if none */
    bool inside;   /* rows are being started: no completion from within */
};
/* Borrows everything. ERR_NOMEM. */
int pipeline_init(struct pipeline *, const struct stage_plan *, struct stage_facts *, struct loop *,
                  struct dns_client *, void (*done)(void *ctx, const struct finding *decisive),
                  void *ctx);
/* Nothing is asked or told any more; the client's name stays readable. Safe on a zeroed one. */
void pipeline_stop(struct pipeline *);
void pipeline_done(struct pipeline *); /* likewise; also behind pipeline_stop() */
/* Runs a stage; findings of its rows go to v. True: over, *ret_decisive is set (NULL: go on).
 * False: done() will be called from the loop. */
bool pipeline_run(struct pipeline *, enum stage, struct verdict *v,
                  const struct finding **ret_decisive);
/* The message is over: rows of MAIL and later stages are cancelled. */
void pipeline_forget(struct pipeline *);
#endif
