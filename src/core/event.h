/*
 * core/event.h - one event with fields is the log line, the trace line and the metric.
 *
 * An event is one JSON object a line (docs/events.md). It is built in a thread's buffer and handed
 * to a sink; sinks batch lines and write them once a loop turn (event_flush). Nothing here blocks
 * a session: when a sink is slow, refusals and debug lines (types "Rejection" and "Debug") are
 * dropped and counted once half of the queue's 4 MB wait; every other line only when all of it is
 * used (accepted mail and its outcomes are in the spool log as well).
 *
 *     struct event *e = event_open("Reception");
 *     event_id(e, "id", id);
 *     event_text(e, "sender", sender);
 *     event_send(e);
 */
#ifndef GAPURA_CORE_EVENT_H
#define GAPURA_CORE_EVENT_H

#include "core/addr.h"
#include "core/buf.h"

enum event_sink_kind { EVENT_SINK_NONE, EVENT_SINK_FD, EVENT_SINK_DATAGRAM };

struct event;

/* Called before the role starts threads. The role's sink: fd is appended to in whole lines
 * (O_APPEND), or gets a datagram a line (prefix, e.g. a syslog header, before it); -1: there is
 * none yet, lines wait for event_swap_fd(). `role` is a field of every line. */
void event_setup(enum event_sink_kind kind, int fd, struct str prefix, const char *role);
/* Swaps the descriptor (rotation); returns the old one. */
int event_swap_fd(int fd);

struct event *event_open(const char *type); /* never NULL; one open at a time per thread */
/* A field that would make the line longer than 64 KB is left out, a text over 8 KB is cut; the line
 * then ends with "truncated":true. Within an array `key` is ignored. */
void event_text(struct event *e, const char *key, struct str value);
void event_c(struct event *e, const char *key, const char *value);
void event_u64(struct event *e, const char *key, uint64_t value);
void event_bool(struct event *e, const char *key, bool value);
void event_id(struct event *e, const char *key, const uint8_t id[16]);
void event_seconds(struct event *e, const char *key, uint64_t ns); /* decimal seconds */
/* Members or elements made elsewhere, by the rules of JSON: as they are, or not at all. */
void event_members(struct event *e, struct str members);
void event_cut(struct event *e); /* something is not told for want of room: "truncated":true */
void event_object(struct event *e, const char *key); /* opens {; close with _end */
void event_array(struct event *e, const char *key);
void event_end(struct event *e);
void event_send(struct event *e); /* adds timestamp and role, queues the line */

/* A plain line for the operator: type "Notice", "Warning" or "Alarm"; text says what happened, what
 * stays safe, what to do. Used by roles and trades, not by floors 1 to 3. */
void event_notice(const char *fmt, ...) PRINTF_LIKE(1, 2);
void event_warning(const char *fmt, ...) PRINTF_LIKE(1, 2);
void event_alarm(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Writes what is queued and never waits; called once a loop turn, and tells of lost lines when it
 * can. True: some are left, so that it is to be called again soon, whatever happens. */
bool event_flush(void);
uint64_t event_dropped(void); /* lines lost because the sink failed or was full */
/* Copies every line to fn as well (trace, tests); NULL ends it. */
void event_tap(void (*fn)(void *ctx, struct str line), void *ctx);

#endif
