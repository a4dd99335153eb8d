/*
 * courier/session_sign.h - DKIM signatures for messages on their way out.
 *
 * A session that has a message in hand asks sign_want(): whose keys are there for its From domain
 * (an index in memory says so) -> the message is hashed, once for all its recipients and attempts
 * -> the keyring signs the digests -> session_signed() goes on with the fields to be put in front.
 * What was made is remembered up to a ceiling. No private key is ever here.
 */
#ifndef GAPURA_COURIER_SESSION_SIGN_H
#define GAPURA_COURIER_SESSION_SIGN_H

#include "courier/session.h"

int signing_create(struct courier *);
void signing_free(struct courier *);
void signing_answer(struct courier *, uint64_t id, struct wire *body); /* ASK_SIGN_ANSWER */
void signing_lost(struct courier *);                                   /* the keyring is gone */

/* Of the message that the session has loaded and opened. SIGN_READY: session.front and signed_by
 * are filled. SIGN_WAITS: session_signed() comes later, unless sign_leave() did. A piece of the
 * body that was read meanwhile stands in session.peeked. */
enum sign_answer sign_want(struct session *);
void sign_leave(struct session *);
/* How long mail waits that could not be signed, ns: longer the longer the keyring is away. */
uint64_t sign_gap(const struct courier *);

#endif
