/*
 * gate/body.h - a message's bytes on their way from the engine into the log.
 *
 * Clean bytes are copied once, into blocks of a pool; the writer gathers them from there. What goes
 * over BODY_WHOLE (or over a block, when memory is short) leaves as CHUNK records while the client
 * still sends; the MESSAGE record is added when all chunks are durable.
 */
#ifndef GAPURA_GATE_BODY_H
#define GAPURA_GATE_BODY_H

#include "core/arena.h"
#include "spool/writer.h"

#define BLOCK_BYTES (16u << 10)
#define BLOCK_ROOM  (BLOCK_BYTES - 16u)
#define BODY_WHOLE  (256u << 10) /* bytes kept in memory before they go as a chunk */
/* Blocks, our fields in front, a header in place of the one that came. */
#define BODY_PIECES  (BODY_WHOLE / BLOCK_ROOM + 4)
#define BODY_PENDING (1u << 20) /* of one message: above it the client is not read */
/* While memory is short a header must end within this: it cannot leave before its end. */
#define BODY_HEADER_SHORT (32u << 10)
/* Of a message's other memory so much is not counted; while memory is short there is no more. */
#define BODY_BESIDE (64u << 10)

struct block {
    struct block *next;
    uint32_t n, unused;
    char bytes[BLOCK_ROOM];
};
_Static_assert(sizeof(struct block) == BLOCK_BYTES, "a block is a page multiple");

struct block_pool {
    struct block *free;
    size_t nfree;
    uint64_t used; /* bytes of blocks in use, and of what stands beside them */
    uint64_t ceiling;
};
void block_give_all(struct block_pool *, struct block *list);
void block_pool_done(struct block_pool *);
bool block_pool_short(const struct block_pool *); /* over half used: one read each is left */

struct body {
    struct block *first, *last;
    unsigned nblocks;
    uint32_t held;    /* bytes in blocks */
    uint8_t line;     /* enum body_line: how far the search for the blank line is */
    uint32_t head;    /* bytes of the header, blank line included, once it has come */
    uint64_t beside;  /* counted in the pool: memory of the message that is no block */
    uint64_t size;    /* of the whole message as it will stand in the log */
    struct buf front; /* our fields: the first piece */
    char *header;     /* goes in place of the first `skip` bytes of the blocks; in an arena */
    uint32_t header_n, skip;
    bool fronted; /* front is complete and not yet in a chunk */
    bool chunked;
    struct iovec pieces[BODY_PIECES];
};
void body_init(struct body *);
void body_clear(struct body *, struct block_pool *); /* keeps a little memory */
/* False: no memory. */
bool body_add(struct body *, struct block_pool *, const char *p, size_t n);
/* front and blocks as pieces for the writer; how many. */
unsigned body_pieces(struct body *, bool with_front);
/* The header block, blank line included, as far as it stands in the blocks held. In one view: of a
 * block, or of a copy in the arena (.p NULL at its ceiling). */
struct str body_header(const struct body *, struct arena *, size_t max);
bool body_has_header(const struct body *); /* the blank line has come */
/* The message has so many bytes elsewhere now: recipients, copies of the header. */
void body_beside(struct body *, struct block_pool *, size_t n);
/* The message comes to nothing: what is held of it is let go, what is on its way is not. */
void body_drop(struct body *, struct block_pool *);

#endif
