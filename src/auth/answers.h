/*
 * auth/answers.h - what a pure evaluator knows from DNS, and what it must still ask.
 *
 * An evaluator (SPF, DKIM, DMARC, ARC) is run over a table of known answers. If one is missing it
 * notes the question and says NEED; the caller asks all of them at once, adds the answers and runs
 * it again from the start. No I/O, no clock, nothing is kept between two runs.
 */
#ifndef GAPURA_AUTH_ANSWERS_H
#define GAPURA_AUTH_ANSWERS_H

#include "net/dns.h"

#define AUTH_NEEDS_MAX 32u

/* How a run ended. */
enum auth_state { AUTH_DONE, AUTH_NEED };

/* Borrowed by the evaluator; names in normal form (auth_name_normal). */
struct auth_answers {
    const struct dns_answer *const *items;
    size_t n;
    /* What somebody knows without asking, by its normal name; it stays as long as the items. NULL:
     * the items are all there is. */
    const struct dns_answer *(*more)(void *ctx, struct str name, enum dns_type type);
    void *ctx;
};
struct auth_question {
    enum dns_type type;
    size_t n;
    char name[256]; /* normal form: lower case, no final dot, NUL-terminated */
};
struct auth_needs {
    struct auth_question items[AUTH_NEEDS_MAX];
    unsigned n;
    bool full; /* one more was needed than the table holds; the next run asks it */
};
/* Lower case, no final dot; false if it cannot be a name (length, empty label, a byte that is not
 * printable ASCII or space). Wider than dns_name_normal: what a macro of SPF expands to may hold
 * any printable byte. dst of 256 bytes, NUL-terminated. */
bool auth_name_normal(struct str name, char *dst, size_t *ret_n);
/* The answer to (name, type) or NULL; the name in any form of auth_name_normal's input. */
const struct dns_answer *auth_answers_find(const struct auth_answers *, struct str name,
                                           enum dns_type type);
/* The answer, or NULL with the question noted once. A name that no question can carry (length, odd
 * bytes) gets a constant answer of NXDOMAIN: nobody can have published under it. */
const struct dns_answer *auth_ask(const struct auth_answers *, struct auth_needs *, struct str name,
                                  enum dns_type type);

#endif
