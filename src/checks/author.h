/*
 * checks/author.h - what the rows that judge authors share: whom we know, what was not proved.
 */
#ifndef GAPURA_CHECKS_AUTHOR_H
#define GAPURA_CHECKS_AUTHOR_H

#include "auth/evidence.h"
#include "policy/stage.h"

/* The entry of `known` that covers the message; empty if none does. */
struct str author_known(const struct stage_facts *);
bool author_served(const struct stage_facts *, struct str domain); /* by us */
/* The first domain of ours that some reader could take for the author's; empty if there is none. */
struct str author_ours(const struct stage_facts *);
/* Nothing proved the author, and DNS that did not answer may be why, or room that we had not. */
bool author_unsure(const struct auth_evidence *);
/* Which of RFC 7372's codes says best what is missing. */
const char *author_code(const struct auth_evidence *);
/* "SPF for far.test: fail; DKIM: no signature": what was found of the author's proofs. */
void author_shown(const struct auth_evidence *, char *dst, size_t cap);

#endif
