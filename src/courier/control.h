/*
 * courier/control.h - what the control verbs' files share.
 */
#ifndef GAPURA_COURIER_CONTROL_H
#define GAPURA_COURIER_CONTROL_H

#include "courier/letter.h"
#include "courier/scope.h"

struct control_filter { /* views into the arguments */
    struct str domain, tenant, sender, recipient, source, site, state, id, reason, span;
    bool all;
    uint64_t limit;
    struct spool_id message; /* of `id` */
};
/* 0, or negative with *ret_text told to the caller. */
struct control_call {
    struct courier *c;
    const struct courier_reply *reply;
    struct control_filter f;
    struct buf line;
};
void control_line(struct control_call *); /* sends call->line and clears it */
void control_end(struct control_call *, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* "key":"text" and so on into the line, with a comma if it is not the first. */
void control_text(struct control_call *, const char *key, struct str value);
void control_number(struct control_call *, const char *key, uint64_t value);

/* control_list.c */
void control_list(struct control_call *);
void control_show(struct control_call *);
void control_summary(struct control_call *);
void control_change(struct control_call *, struct str verb); /* retry hold release remove */
/* State and reason of a row, for people; the letter may be NULL. */
const char *control_state(const struct courier *, const struct index_row *);
void control_why(const struct courier *, const struct index_row *, const struct letter *, char *dst,
                 size_t cap);

/* explain.c */
void control_explain(struct control_call *);

#endif
