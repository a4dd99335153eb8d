/*
 * gate/gate.h - the inbound side of one gate process: sessions from accept to 250.
 *
 * The role (roles/role_gate.c) owns loop, channels, writer and sandbox, and hands them in here.
 * One message's way: listener -> gate/session.c (smtp server callbacks) -> policy stages
 * (policy/stage.h; rows in checks/table.c) -> gate/body.c gathers the clean body with our Received
 * field in front -> spool_writer_add -> batch durable -> done() -> 250.
 */
#ifndef GAPURA_GATE_GATE_H
#define GAPURA_GATE_GATE_H

#include "gate/links.h"

struct gate;
/* Keeps links (copied) and conf (borrowed until gate_set_conf returns or gate_free). */
int gate_create(struct gate **ret, const struct gate_links *, const struct conf *, struct why *);
/* After gate_stop() has called `stopped`, or after spool_writer_free(): nothing of the gate's may
 * be on its way into the log. */
void gate_free(struct gate *);
/* New settings for new sessions; running ones keep what they need of the old (TLS contexts are
 * refcounted; the old conf is freed by the caller when gate_uses(conf) is 0). */
int gate_set_conf(struct gate *, const struct conf *, struct why *);
unsigned gate_uses(const struct gate *, const struct conf *);
void gate_set_snapshot(struct gate *, const struct snapshot *); /* borrowed until the next one */
/* Takes fd if it returns 0: bound and listening, for the block `listen NAME`. While the settings
 * have no such block, connections wait. */
int gate_listen(struct gate *, struct str name, int fd);
void gate_unlisten(struct gate *, struct str name); /* closes that block's listeners */
/* Answers and tells from keyring, keeper, courier: true if the type was one of ours. */
bool gate_message(struct gate *, uint16_t type, uint64_t id, struct wire *body);
void gate_lost(struct gate *, struct chan *); /* that role is gone: open asks fail softly */
void gate_space(struct gate *, uint64_t intake_bytes, uint64_t total, bool open); /* TELL_SPACE */
/* No new connections; sessions are closed with 421 between messages, at the latest after grace. */
void gate_stop(struct gate *, uint64_t grace_ns, void (*stopped)(void *ctx), void *ctx);
unsigned gate_sessions(const struct gate *);
/* Lines of sessions with an address in the prefix (NULL: of all) go to fn until gate_trace_end with
 * that ctx. ERR_LIMIT: GATE_TRACERS watch already. */
int gate_trace(struct gate *, const struct prefix *from,
               void (*fn)(void *ctx, struct str json_line), void *ctx);
void gate_trace_end(struct gate *, void *ctx);

#endif
