/*
 * courier/control.h - what the control verbs' files share.
 */
#ifndef GAPURA_COURIER_CONTROL_H
#define GAPURA_COURIER_CONTROL_H

#include <jansson.h>

#include "courier/letter.h"
#include "courier/scope.h"

struct control_filter { /* views into the arguments */
    struct str domain, tenant, sender, recipient, source, site, state, id, reason, span;
    bool all;
    uint64_t limit;
    struct spool_id message; /* of `id` */
};
struct control_walk { /* over the index's rows, from turn to turn */
    uint32_t at, to, loaded;
    bool begun;
    int err;         /* of the letter that was read last */
    uint64_t n;      /* rows told */
    struct letter l; /* of message `loaded` */
};
#define CONTROL_GROUP 256u
/* One verb that somebody asked for. It goes on from turn to turn of the loop until its step says
 * that it has ended; delivery has its turns in between. */
struct control_call {
    struct courier *c;
    struct courier_reply reply;
    struct control_filter f;
    json_t *args; /* that the filter's views point into */
    struct buf line;
    /* True when it has ended: control_end() was called. NULL: it waits for something else. */
    bool (*step)(struct control_call *);
    void (*done)(struct control_call *); /* frees `own`; may be NULL */
    void *own;                           /* of the verb */
    bool waits;                          /* for the disk: whoever knows of it defers `turn` */
    bool finishes;                       /* goes on when its client has left */
    bool whole;                          /* is about all that waits: half of it is a failure */
    bool changes;                        /* ends when its records are durable */
    char *last;                          /* what is told then */
    int last_status;                     /* and how it ended */
    uint64_t written, patience;          /* outs_given() at its end; mono ns */
    struct control_walk walk;
    struct loop_call turn;
    struct loop_timer pause;
    struct control_call *next, **prev; /* of courier.calls */
};
void controls_free(struct courier *);     /* the courier goes: those that run are told so */
void control_line(struct control_call *); /* sends call->line and clears it */
void control_end(struct control_call *, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* "key":"text" and so on into the line, with a comma if it is not the first. */
void control_text(struct control_call *, const char *key, struct str value);
void control_json(struct control_call *, const char *key, struct str json); /* as it is */
void control_number(struct control_call *, const char *key, uint64_t value);

/* control_list.c */
void control_list(struct control_call *);
void control_show(struct control_call *);
void control_summary(struct control_call *);
/* The states that a filter may name; NULL at the end. */
extern const char *const control_states[];
/* State and reason of a row, for people; the letter may be NULL. */
const char *control_state(const struct courier *, const struct index_row *, const struct letter *);
/* When its site is tried again for the message's tenant (NULL: for all), wall seconds; 0: it is not
 * shut. */
uint64_t control_site_opens(const struct courier *, const struct index_dest *,
                            const struct index_message *);
void control_why(const struct courier *, const struct index_row *, const struct letter *, char *dst,
                 size_t cap);

/* control_walk.c: rows that match all filters. False: more in the next turn. The letter is read if
 * it is wanted or a filter needs it; fn returns false to end the walk. */
struct walk_row {
    uint32_t row, message;
    const struct letter *letter; /* NULL: not read, or not readable */
    struct spool_rcpt rcpt;
};
bool control_walk(struct control_call *, bool want_letter,
                  bool (*fn)(struct control_call *, const struct walk_row *));

/* control_change.c */
void control_retry(struct control_call *);
void control_hold(struct control_call *);
void control_release(struct control_call *);
void control_remove(struct control_call *);

/* control_top.c */
void control_top(struct control_call *);

/* control_replies.c */
void control_replies_unknown(struct control_call *);

/* explain.c */
void control_explain(struct control_call *);

#endif
