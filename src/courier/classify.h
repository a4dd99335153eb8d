/*
 * courier/classify.h - what a reply means: one table by code, enhanced code and stage. Pure.
 */
#ifndef GAPURA_COURIER_CLASSIFY_H
#define GAPURA_COURIER_CLASSIFY_H

#include "smtp/client.h"

enum reply_class {
    REPLY_DELIVERED,
    REPLY_TEMPORARY,   /* try again later */
    REPLY_GREYLIST,    /* come again from the same source */
    REPLY_FULL,        /* the mailbox is full, for now */
    REPLY_HOST,        /* trouble of this host or connection: another host may do */
    REPLY_RATE,        /* too many, too fast: slow down here */
    REPLY_PERMANENT,   /* refused, no finer class */
    REPLY_MAILBOX,     /* no such mailbox or domain */
    REPLY_POLICY,      /* refused for what it is or where it comes from */
    REPLY_UNSUPPORTED, /* the next hop cannot take this kind of message */
    REPLY_UNKNOWN,     /* the connection ended after the final dot */
    REPLY_CLASSES
};
struct reply_class_row {
    const char *name; /* in events */
    bool permanent;
};
extern const struct reply_class_row reply_classes[REPLY_CLASSES];

/* Class of a reply at that stage; code 0: the connection ended. */
enum reply_class classify(enum smtp_client_stage, const struct smtp_reply *);

#endif
