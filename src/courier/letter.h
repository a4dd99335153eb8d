/*
 * courier/letter.h - a message read back from the log: its envelope, then its body in pieces.
 *
 * From the writer's ring while that still holds it, else from the segment's file. What is read is
 * hostile input until it decodes; bodies from files are checked against their checksum before their
 * last piece is handed out, so that a final dot never follows damaged bytes.
 */
#ifndef GAPURA_COURIER_LETTER_H
#define GAPURA_COURIER_LETTER_H

#include "courier/inner.h"
#include "spool/envelope.h"

struct letter_walk {
    size_t at;
    uint32_t i;
};
struct letter { /* views are valid until letter_load or letter_done */
    struct buf bytes;
    struct spool_record record;
    struct spool_envelope env;
    struct str states; /* of a copy */
    bool copy;
    /* What was found before, of a message that is the same until the next load. */
    struct letter_found {
        struct letter_walk walk; /* before the recipient of that ordinal */
        uint32_t ordinal;
        bool asked; /* notify is all that any recipient wants */
        uint8_t notify;
    } found;
};
void letter_init(struct letter *);
void letter_done(struct letter *);
int letter_load(struct courier *, uint32_t message, struct letter *);
/* Decodes a record that is in memory already (intake). */
int letter_decode(struct letter *, const struct spool_record *, uint32_t node, uint32_t epoch);
/* Walks recipients with their ordinals in the original, which grow: 1, 0 at the end, ERR_CORRUPT.
 */
int letter_next(const struct letter *, struct letter_walk *, uint32_t *ret_ordinal,
                struct spool_rcpt *ret);
/* That recipient: 0 or ERR_NOTFOUND. */
int letter_rcpt(const struct letter *, uint32_t ordinal, struct spool_rcpt *ret);
/* A walk that stands before that recipient; before the first if there is none of that ordinal. Who
 * asks for one after the other pays for each once. */
struct letter_walk letter_seek(const struct letter *, uint32_t ordinal);
/* Does any recipient want that (SPOOL_NOTIFY_*)? */
bool letter_wants(const struct letter *, uint8_t notify);

struct body {
    struct courier *c;
    struct buf piece;
    uint64_t segment, generation; /* present part: the body itself or one chunk */
    uint64_t offset;
    uint32_t left, crc, want_crc;
    bool check;                       /* came from a file: checksum counts */
    bool one;                         /* part is read in one piece */
    const struct spool_envelope *env; /* chunked: the letter's, which must outlive this */
    size_t chunk_at;
};
void letter_body_init(struct body *, struct courier *);
void letter_body_done(struct body *);
/* Begins at the message's first byte. The letter must be loaded and stay so. */
int letter_body_open(struct body *, uint32_t message, const struct letter *);
/* The next piece: n == 0 at the end; ERR_CORRUPT, ERR_STALE, -errno. */
int letter_body_pull(void *body, struct str *ret);
/* The header block of what was opened, whose first piece was just pulled: within it, or read on
 * into `room` (room.p: the body must be opened again). ERR_LIMIT: it is longer; *ret is what there
 * is. */
#define LETTER_HEAD_MAX (1u << 20)
int letter_head(struct body *b, struct str first, struct buf *room, struct str *ret);

#endif
