/*
 * core/event_sink.h - where lines of events go. For event.c only; others use core/event.h.
 */
#ifndef GAPURA_CORE_EVENT_SINK_H
#define GAPURA_CORE_EVENT_SINK_H

#include "core/event.h"

enum event_importance {
    EVENT_KEPT,   /* lost only when the whole queue is full */
    EVENT_SPARED, /* refusals and debug lines: not taken once the queue is half full */
};

/* Appends ,"role":"..." as it was given to event_setup. */
void event_sink_role(struct buf *line);
/* Queues a line that ends with a newline; `broken` ones are only counted. */
void event_sink_put(struct str line, bool broken, enum event_importance importance);
/* When there is no sink: a plain line on standard error. */
void event_sink_plain(const char *type, struct str text);

#endif
