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

/* What a message waits for that must be signed (index_message.unsigned_yet). */
enum sign_wait {
    SIGN_WAIT_NONE,
    SIGN_WAIT_INDEX,
    SIGN_WAIT_KEYRING,
    SIGN_WAIT_KEY,
    SIGN_WAIT_READ
};
const char *sign_wait_text(uint8_t);
/* A new index of keys: those that could not sign are asked again at once. */
void signing_keys(struct courier *);

#endif
