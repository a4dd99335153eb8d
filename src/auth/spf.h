/*
 * auth/spf.h - Sender Policy Framework (RFC 7208): may this address send for that domain?
 *
 * A check's way: the gate fills a spf_input when MAIL FROM is known (and another for the HELO
 * identity), spf_run() walks the published terms over the answers that are known and either is DONE
 * or has noted what must be asked; then it is run again from the start. Each term that was looked
 * at is kept in the trace, for explain. Views in the verdict live as long as the arena, the answers
 * and the input.
 */
#ifndef GAPURA_AUTH_SPF_H
#define GAPURA_AUTH_SPF_H

#include "auth/answers.h"

enum spf_result {
    SPF_NONE,
    SPF_NEUTRAL,
    SPF_PASS,
    SPF_FAIL,
    SPF_SOFTFAIL,
    SPF_TEMPERROR,
    SPF_PERMERROR,
};
const char *spf_result_name(enum spf_result); /* as Authentication-Results says it */

struct spf_limits {
    unsigned terms;   /* that cause look-ups (RFC 7208 4.6.4: 10) */
    unsigned voids;   /* terms whose look-up found nothing (2) */
    unsigned names;   /* of MX and PTR records (10) */
    unsigned queries; /* in all */
    unsigned steps;   /* kept in the trace; what is beyond is counted */
    uint64_t time_ns; /* from the first run on; then temperror */
};
extern const struct spf_limits spf_limits_default;

enum spf_identity { SPF_MAILFROM, SPF_HELO };
struct spf_input {
    struct addr ip;
    struct str helo;
    struct str local, domain; /* of MAIL FROM; domain empty: the null sender, so postmaster@helo */
    enum spf_identity identity;
    struct str receiver;             /* our name, for %{r} */
    uint64_t time;                   /* seconds since 1970, for %{t} */
    uint64_t elapsed_ns;             /* since the first run */
    const struct spf_limits *limits; /* NULL: the default */
};

enum spf_outcome {
    SPF_STEP_MATCH,
    SPF_STEP_NO_MATCH,
    SPF_STEP_FOLLOWED, /* redirect, exp: another record was read */
    SPF_STEP_ERROR,
};
const char *spf_outcome_name(enum spf_outcome);
struct spf_step {      /* one term, in the order of evaluation */
    struct str record; /* the domain whose record it stands in */
    struct str term;   /* as published */
    struct str target; /* the name that was looked up, macros expanded; empty if none */
    enum spf_outcome outcome;
    uint8_t depth;   /* of include */
    uint8_t lookups; /* questions to DNS that it took, with all below it; 255: or more */
};
struct spf_verdict {
    enum spf_result result;
    enum spf_identity identity; /* that was checked: HELO for the null sender, too */
    struct str domain;          /* that was checked, in A-labels */
    struct str explanation;     /* of the domain's owner, on fail; empty if none */
    struct str why;             /* of a result, for people; for errors what is wrong */
    struct str mechanism;       /* the term that decided, "default" if none did */
    struct spf_step *steps;
    unsigned nsteps, steps_lost;
    unsigned terms, voids, queries; /* used of the limits */
    uint32_t ttl;                   /* seconds that this holds */
};
/* AUTH_NEED: needs holds questions, ret is untouched. Needs are cleared at the beginning. */
enum auth_state spf_run(const struct spf_input *, const struct auth_answers *, struct auth_needs *,
                        struct arena *, struct spf_verdict *ret);

/* Does the text begin a record of this version? */
bool spf_is_record(struct str txt);

#endif
