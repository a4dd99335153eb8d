/*
 * auth/known.h - a table of answers that grows: what a resolver said about one message.
 *
 * Answers live only while the resolver's callback runs, so they are copied here, with a ceiling.
 * Evaluators run over auth_known_table(); what does not come in time is noted as a failure, so
 * that every evaluation ends.
 */
#ifndef GAPURA_AUTH_KNOWN_H
#define GAPURA_AUTH_KNOWN_H

#include "auth/answers.h"

#define AUTH_KNOWN_MAX   512u         /* answers of one message */
#define AUTH_KNOWN_BYTES (512u << 10) /* of their texts and records */

struct auth_known {
    struct arena *arena;
    const struct dns_answer **items;
    size_t n, cap, bytes;
    /* Whoever may know an answer already: it is copied here when an evaluator asks, and the
     * evaluation goes on at once. The caller's until it is called again; set while evaluators run.
     */
    const struct dns_answer *(*cached)(void *ctx, struct str name, enum dns_type type);
    void *cached_ctx;
};
void auth_known_init(struct auth_known *, struct arena *);
/* Copies the answer unless one of that name and type is there. ERR_LIMIT: no room, or over the
 * ceiling; then auth_known_fail() still has some. */
int auth_known_add(struct auth_known *, const struct dns_answer *);
/* The question gets no answer any more: known as a temporary failure. ERR_LIMIT. */
int auth_known_fail(struct auth_known *, const struct auth_question *);
struct auth_answers auth_known_table(struct auth_known *);

#endif
