/*
 * core/metric.h - counters of one table in a page that roles share; Prometheus text out.
 *
 * The page is a memfd of metric_page_size() bytes mapped by every role: a slot a role, so that a
 * counter is a plain add of its owner. A restarted role goes on where it was.
 */
#ifndef GAPURA_CORE_METRIC_H
#define GAPURA_CORE_METRIC_H

#include "core/buf.h"

/* X(id, kind, name, help): the one table. kind: COUNTER or GAUGE. */
#define METRIC_TABLE(X)                                                                            \
    X(CONNECTIONS, COUNTER, "smtp_connections_total", "SMTP connections accepted")                 \
    X(SESSIONS, GAUGE, "smtp_sessions", "SMTP sessions open now")                                  \
    X(ACCEPTED, COUNTER, "messages_accepted_total", "Messages answered with 250 after a sync")     \
    X(ACCEPTED_BYTES, COUNTER, "messages_accepted_bytes_total", "Their bytes")                     \
    X(REFUSED_RCPT, COUNTER, "recipients_refused_total", "Recipients refused")                     \
    X(REFUSED_MSG, COUNTER, "messages_refused_total", "Messages refused at or after DATA")         \
    X(TEMPFAIL, COUNTER, "messages_deferred_inbound_total", "Messages answered with 4yz")          \
    X(AUTH_OK, COUNTER, "auth_success_total", "Logins")                                            \
    X(AUTH_FAIL, COUNTER, "auth_failure_total", "Failed logins")                                   \
    X(TLS_IN, COUNTER, "tls_inbound_total", "TLS handshakes finished as server")                   \
    X(SYNCS, COUNTER, "spool_syncs_total", "fdatasync calls on the spool")                         \
    X(BATCHES, COUNTER, "spool_batches_total", "Batches written")                                  \
    X(SPOOL_BYTES, COUNTER, "spool_written_bytes_total", "Bytes written to segments")              \
    X(SPOOL_ERRORS, COUNTER, "spool_errors_total", "Failed writes or syncs")                       \
    X(WAITING, GAUGE, "queue_recipients", "Recipients waiting for delivery")                       \
    X(WAITING_MSGS, GAUGE, "queue_messages", "Messages waiting for delivery")                      \
    X(HELD, GAUGE, "queue_held", "Recipients on hold")                                             \
    X(DELIVERED, COUNTER, "recipients_delivered_total", "Recipients delivered")                    \
    X(DEFERRED, COUNTER, "recipients_deferred_total", "Attempts that ended in a retry")            \
    X(BOUNCED, COUNTER, "recipients_bounced_total", "Recipients failed for good")                  \
    X(UNKNOWN, COUNTER, "recipients_unknown_total", "Outcomes unknown after a lost connection")    \
    X(OUT_CONNECTIONS, COUNTER, "delivery_connections_total", "Connections opened to deliver")     \
    X(OUT_SESSIONS, GAUGE, "delivery_sessions", "Delivery sessions open now")                      \
    X(TLS_OUT, COUNTER, "tls_outbound_total", "TLS handshakes finished as client")                 \
    X(DNS_QUESTIONS, COUNTER, "dns_questions_total", "Questions to the resolver")                  \
    X(EVENTS_DROPPED, COUNTER, "events_dropped_total", "Event lines lost")                         \
    X(SEGMENTS_FREE, GAUGE, "spool_segments_free", "Pre-written segments in the pool")             \
    X(SEGMENTS_USED, GAUGE, "spool_segments_used", "Segments that hold mail or outcomes")          \
    X(RESTARTS, COUNTER, "role_restarts_total", "Roles started again after they ended")

#define METRIC_ENUM(id, kind, name, help) METRIC_##id,
enum metric { METRIC_TABLE(METRIC_ENUM) METRIC_MAX_ };

#define METRIC_ROLES 32 /* slots in the page */

size_t metric_page_size(void);
/* Maps the page and takes slot `role`; until then counts go to a private page. fd -1 keeps it.
 * Counters of the slot go on, its gauges begin anew: what they measured ended with their process.
 */
int metric_attach(int fd, unsigned role);
void metric_add(enum metric m, uint64_t n);
void metric_set(enum metric m, uint64_t value);
uint64_t metric_sum(enum metric m); /* over all roles */
void metric_prometheus(struct buf *out);
void metric_json(struct buf *out); /* one object, name: sum */

#endif
