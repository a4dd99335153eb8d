/*
 * roles/advice.h - what a domain that we send for (or take mail for) should publish, beside what is
 * published: a pure evaluation over known answers, as those of auth/.
 *
 * Run by roles/domain_dns.c until it is DONE; tests give the answers from a zone file.
 */
#ifndef GAPURA_ROLES_ADVICE_H
#define GAPURA_ROLES_ADVICE_H

#include "auth/answers.h"
#include "core/arena.h"

#define ADVICE_SOURCES 64u
#define ADVICE_KEYS    16u
#define ADVICE_ROWS    (ADVICE_KEYS + 8u)

struct advice_key {
    struct str selector, record; /* "v=DKIM1; k=rsa; p=..." */
    struct str public;           /* p= alone */
    uint8_t alg;                 /* enum keys_alg */
    const char *state;
    struct str above; /* the domain above whose key it is (dkim.subdomains), or empty: its own */
};
struct advice_input {
    struct str domain; /* A-labels, lower case */
    struct str hostname;
    const struct addr *sources; /* addresses that its mail leaves from */
    unsigned nsources;          /* none: those of our host name */
    const struct advice_key *keys;
    unsigned nkeys;
    bool served;        /* we take mail for it */
    bool sent;          /* mail of it leaves from here */
    struct str reports; /* address at the domain where reports are read; empty: none */
    uint64_t now;
};
enum advice_status {
    ADVICE_OK,
    ADVICE_MISSING,
    ADVICE_DIFFERENT,
    ADVICE_OPTIONAL, /* not there, and nothing fails without it */
    ADVICE_UNKNOWN,  /* DNS did not answer */
};
const char *advice_status_name(enum advice_status);
struct advice_row {
    struct str name, value; /* to be published; value without quotes */
    const char *type;       /* "TXT", "MX" */
    struct str found;       /* what is there now; several with " | " between */
    struct str note;        /* a sentence; may be empty */
    enum advice_status status;
};
/* AUTH_NEED: rows are not all there yet. Views live as long as arena, input and answers. */
enum auth_state advice_run(const struct advice_input *, const struct auth_answers *,
                           struct auth_needs *, struct arena *, struct advice_row rows[ADVICE_ROWS],
                           unsigned *ret_n);
/* The row as a line of a zone file. */
void advice_line(const struct advice_row *, struct buf *out);

#endif
