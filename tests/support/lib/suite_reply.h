/*
 * tests/support/lib/suite_reply.h - what the runners of replies and of bounces share: disputed
 * cases by what they say, other hosts, and the held-out experiment.
 */
#ifndef GAPURA_SUITE_REPLY_H
#define GAPURA_SUITE_REPLY_H

#include "core/buf.h"
#include "courier/reply_class.h"

/* What makes two cases the same: the reply's words (hosts and addresses aside), its codes, and what
 * the label says. File names are no part of it. */
uint64_t suite_digest(struct str reply, struct str enhanced, struct str label);

/* Lines of a digest in hex, a tab, the reason. False with the reason printed. */
bool suite_disputes_read(const char *path);
const char *suite_dispute(uint64_t digest); /* the reason, or NULL */

/* Other hosts and addresses in a text, the same every time for a seed and a text; hosts that
 * patterns know, and URLs, stay. The view lives until the next call. */
struct str suite_shuffled(const struct reply_classes *, uint64_t seed, struct str text);

/* Held out: patterns are what people wrote who had seen the cases. Each case is in a half by its
 * digest; what decided in the second half alone is taken out of the set, as if nobody had seen that
 * half, and the second half is run again. */
bool suite_half(uint64_t digest, uint64_t seed); /* true: the second */
void suite_half_decided(const struct reply_class_result *, bool second);
/* How many patterns were taken out. */
unsigned suite_half_forget(struct reply_classes *);

void suite_figure(const char *what, unsigned good, unsigned all);

#endif
