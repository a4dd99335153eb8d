/*
 * courier/fit.h - what a message asks of its way beyond an address: BINARYMIME (RFC 3030), a time
 * to deliver by (RFC 2852), a priority (RFC 6710).
 *
 * Called by intake (what the index keeps of them), session_job and maildir (what the next host must
 * offer) and outcome (when somebody is to be told).
 */
#ifndef GAPURA_COURIER_FIT_H
#define GAPURA_COURIER_FIT_H

#include "courier/letter.h"
#include "smtp/client.h"

/* Wall ns after which nothing is tried any more, as the message itself says; 0: by settings. The
 * index has it as courier_wall() counts (age_stamp). */
static inline uint64_t
fit_expires(const struct spool_envelope *env)
{
    if (env->by_mode != SPOOL_BY_RETURN)
        return env->expires;
    return env->expires ? MIN(env->expires, env->deliver_by) : env->deliver_by;
}

/* The rank of a message inside its destination, a class of spool/record.h: priority below 0 puts it
 * behind all other mail, above 0 one class forward; reports and notices are before all. */
static inline uint8_t
fit_rank(uint8_t class, int8_t priority)
{
    if (priority == 0 || class == SPOOL_CLASS_SYSTEM)
        return class;
    if (priority < 0)
        return SPOOL_CLASS_BULK;
    return MAX(class - 1, SPOOL_CLASS_INSIDE) & 3;
}

struct fit {
    bool traced; /* the sender is told that the message went on to there */
    /* Why it cannot go there at all: enhanced code 5.subject.detail. */
    uint16_t subject, detail;
    const char *text;
};
/* Fills what the client says of it to the host that it is connected to. False: it cannot go there.
 */
bool fit_message(const struct courier *, uint32_t message, const struct smtp_client *, bool lmtp,
                 const struct spool_envelope *, struct smtp_client_message *, struct fit *ret);
/* Does what these rows of a message bring go to the reader of reports and nowhere else? The gate
 * says NEVER where it goes elsewhere too. Mail that cannot be read now counts as such. letter: of
 * the message, or NULL. */
bool fit_only_read(struct courier *, const uint32_t *rows, uint32_t n, const struct letter *);
/* When its sender is to be told that it is late (mode N), in courier_wall(); 0: no such wish.
 * letter: of the message, or NULL. */
uint64_t fit_notify_by(struct courier *, uint32_t message, const struct letter *);

#endif
