/*
 * courier/intake_inner.h - what the intake's files share.
 */
#ifndef GAPURA_COURIER_INTAKE_INNER_H
#define GAPURA_COURIER_INTAKE_INNER_H

#include "core/event.h"
#include "courier/intake.h"

/* intake.c: a pending row may go on. */
void intake_row_open(struct courier *, uint32_t row);

/* intake_note.c: intents and outcomes. ERR_NOMEM: what was said is lost, delivery must not open. */
int intake_note(struct courier *, uint32_t slot, const struct spool_record *);
int intake_note_keep(struct courier *, uint32_t epoch, const struct early_note *);
void intake_note_apply(struct courier *, uint32_t message, const struct early_note *);

/* intake_chunk.c: segments that hold pieces of large bodies. */
void intake_chunk(struct courier *, uint32_t slot, uint32_t epoch, const struct spool_record *);
/* The message's pieces are now those of that envelope. */
void intake_chunks_set(struct courier *, uint32_t message, const struct spool_envelope *);
void intake_chunks_drop(struct courier *, uint32_t epoch, uint64_t seq);
void intake_chunks_void(struct courier *, uint32_t epoch, uint64_t first, uint64_t last);
void intake_chunks_over(struct courier *, uint32_t epoch); /* uncommitted ones of a dead epoch */

/* recover.c: are that epoch's messages still to be read, from segments or from a tail? */
bool intake_is_later(const struct courier *, uint32_t epoch);

#endif
