/*
 * courier/warmup.h - how much a young source, or a young DKIM domain, may send to one provider a
 * day: a law over sending days. Pure; one struct for each (source, provider) and (DKIM domain,
 * provider).
 *
 * A curve gives the first day's messages and the growth. A day that was used and went well
 * advances; one that says too little holds; a bad one steps back. Days without mail are not
 * counted, and after thirty of them the warmth is gone.
 */
#ifndef GAPURA_COURIER_WARMUP_H
#define GAPURA_COURIER_WARMUP_H

#include "core/buf.h"
#include "core/wire.h"

#define WARMUP_STEPS_MAX 48u

struct warmup_curve {
    const char *name;
    uint32_t steps[WARMUP_STEPS_MAX]; /* messages of day 1, 2, ...; 0 ends them */
    double growth;                    /* of the days behind the last step; above 1 */
    uint64_t done;                    /* messages a day at which the source is warm */
};
/* Published curves by name ("default", "sparkpost", "sendgrid", "mailtrap", "ses"), or NULL. */
const struct warmup_curve *warmup_curve_find(struct str name);
extern const struct warmup_curve warmup_curves[];
extern const size_t warmup_ncurves;

enum warmup_move { WARMUP_ADVANCED, WARMUP_HELD, WARMUP_STEPPED_BACK, WARMUP_AGAIN, WARMUP_DONE };
extern const char *const warmup_move_names[];

struct warmup_day {      /* what one day told */
    uint64_t sent;       /* attempts that got a reply */
    uint64_t deferred;   /* refused for now, for rate or reputation */
    uint64_t bounced;    /* unknown recipients */
    uint64_t blocked;    /* refused for spam or reputation */
    uint64_t complaints; /* from feedback loops */
    bool complaint_data; /* this provider tells of complaints at all */
};
struct warmup {
    const struct warmup_curve *curve;
    uint32_t stage; /* 0: the first day of the curve */
    uint32_t day;   /* that the limit is for (days since 1970); 0: none yet */
    uint32_t last;  /* day on which mail was sent last */
    uint64_t limit; /* messages of that day */
    struct warmup_day today;
    bool done;
    char reason[96]; /* of the last move, for explain */
};
void warmup_init(struct warmup *, const struct warmup_curve *);
/* Messages that may still go today. A new day judges the former one. UINT64_MAX: it is warm. */
uint64_t warmup_left(struct warmup *, uint32_t day);
/* What was sent or told today; fields of `more` are added. */
void warmup_told(struct warmup *, uint32_t day, const struct warmup_day *more);
/* Days that `messages` take from now on if all goes well, today included (for a forecast; at most
 * ten years). */
uint32_t warmup_days_for(const struct warmup *, uint64_t messages);

void warmup_encode(struct buf *out, const struct warmup *);
int warmup_decode(struct warmup *ret, struct wire *); /* ERR_SYNTAX */

#endif
