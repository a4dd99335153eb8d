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
 * goes on in the background until that stage needs its answer. A row that judges what the others
 * found returns STEP_AFTER and is called once more when nothing is waited for.
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
    STEP_NEXT,  /* this row is done, the next one may run */
    STEP_WAIT,  /* waits for the answers it asked for */
    STEP_DONE,  /* this row is done and the rest of the stage need not run */
    STEP_AFTER, /* to CHECK_START only: CHECK_AFTER comes when all others of the stage are done */
};
enum check_event {
    CHECK_START,
    CHECK_DNS,   /* run->answer */
    CHECK_WAKE,  /* the time that the row set by check_wake() is over */
    CHECK_AFTER, /* one row at a time, in the order of the plan */
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
/* Could a message with the null sender be a report about mail that its recipient sent through us?
 */
enum stage_returns {
    STAGE_RETURNS_NOT,
    STAGE_RETURNS_OURS,
    STAGE_RETURNS_UNKNOWN, /* we have no key now that could tell */
};
struct auth_evidence;
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
    struct str header; /* HEADER and BODY: the header block as it came */
    /* What authentication has found of a stranger's message (auth/evidence.h); NULL: it is not
     * looked at. This room does not know what stands in it. */
    struct auth_evidence *auth;
    /* Of those who submit, in HEADER: the index of our signing keys (a struct snapshot, see
     * store/keys.h), what the settings say of them (a struct settings_dkim), and the tenant whose
     * mail it is. NULL: there are no keys. */
    const void *keys, *dkim;
    uint32_t tenant;
    bool (*serves)(const void *served, struct str domain); /* is it ours? A-labels, lower case */
    const void *served;
    bool rcpts_office;  /* all recipients are postmaster or abuse */
    bool rcpts_reports; /* all recipients are addresses that reports go to, or office */
    uint8_t returns;    /* enum stage_returns */
};

struct check_run;
struct check {
    const char *name; /* settings "check NAME", metric label, prefix of findings */
    enum stage stage; /* where it starts */
    enum stage join;  /* which stage waits for it; at least `stage` */
    enum check_place place;
    unsigned cost;                 /* cheap ones first in a stage */
    bool all_clients;              /* runs for trusted networks and logins too */
    bool of_keys;                  /* reads the header for nothing but stage_facts.keys */
    enum check_mode mode;          /* when no settings block says otherwise */
    const struct conf_block *conf; /* its own settings, or NULL */
    const char *const *findings;   /* all names that it may find, for profiles; ends with NULL */
    size_t memory;                 /* bytes of zeroed state of one run */
    enum step (*run)(struct check_run *, enum check_event);
};

#define CHECK_ASKS_MAX 40u /* questions of one row that are open at once */
struct pipeline;
struct check_ask;
struct check_run { /* one row in one session */
    const struct check *check;
    struct pipeline *pipeline;
    void *memory;
    const struct dns_answer *answer; /* CHECK_DNS */
    struct verdict *verdict;         /* where findings go */
    const struct finding *decisive;
    struct check_ask *asks; /* open questions */
    uint64_t wake;          /* mono ns; 0: no time is set */
    uint8_t nasks;
    uint8_t state, mode;
};
/* For rows. Texts are copied. Stage, check and rcpt are filled in here; observe mode makes a
 * finding an observed one, and a row may call it so itself. */
void check_find(struct check_run *, const struct finding *f);
const struct stage_facts *check_facts(const struct check_run *);
/* 0, ERR_LIMIT (too many at once, of this row or of the client) or ERR_UNSUPPORTED (no resolver):
 * then no answer comes. */
int check_ask(struct check_run *, struct str name, enum dns_type type);
/* The answer if it is known already (NULL: it must be asked); the caller's until it asks. */
const struct dns_answer *check_cached(const struct check_run *, struct str name, enum dns_type);
/* With STEP_WAIT: while a stage waits for this row, CHECK_WAKE comes after so many ns. */
void check_wake(struct check_run *, uint64_t ns);
/* Was a question of this client's refused, because it has too many open? */
bool check_hindered(const struct check_run *);
void check_client_name(struct check_run *, struct str name); /* copied */

#endif
