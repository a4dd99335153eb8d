/*
 * auth/zone.h - a zone file as a table of answers: DNS without a network.
 *
 * For `gapura auth ... --dns FILE` and for tests: the evaluators of this room run over what a file
 * says. Reads A, AAAA, MX, TXT, PTR and CNAME records with $ORIGIN, $TTL, quoted strings,
 * parentheses and wildcards; a record of type TIMEOUT, SERVFAIL or BOGUS makes what the name does
 * not have fail in that way.
 *
 *     do {
 *         state = spf_run(&in, zone_answers(z), &needs, &arena, &ret);
 *     } while (state == AUTH_NEED && zone_ask(z, &needs) == 0);
 */
#ifndef GAPURA_AUTH_ZONE_H
#define GAPURA_AUTH_ZONE_H

#include "auth/answers.h"
#include "core/err.h"

struct zone;
struct zone *zone_create(size_t max_bytes); /* NULL without memory; holds at most that much */
void zone_free(struct zone *);

/* Adds what the text says. ERR_SYNTAX with the line in why, or ERR_LIMIT. */
int zone_read(struct zone *, struct str text, struct why *);
/* Adds one record; name and the record's own name in any form. ERR_SYNTAX for an impossible name,
 * ERR_LIMIT. */
int zone_add(struct zone *, struct str name, const struct dns_record *, uint32_t ttl);
/* The name is there and has nothing of the types that were not added. */
int zone_add_empty(struct zone *, struct str name);
/* What the name has no record for fails like this. */
int zone_add_failure(struct zone *, struct str name, enum dns_status);

/* The answer that a resolver would give, aliases followed. NULL without room. Lives as long as the
 * zone. */
const struct dns_answer *zone_lookup(struct zone *, struct str name, enum dns_type type);

/* The table that evaluators run over: all that zone_ask has answered so far. */
const struct auth_answers *zone_answers(const struct zone *);
/* Answers the open questions into the table and clears them. ERR_LIMIT: no room, or there was no
 * question (so that a loop over it ends). */
int zone_ask(struct zone *, struct auth_needs *);
void zone_forget(struct zone *); /* empties the table of answers, keeps the records */

#endif
