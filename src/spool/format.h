/*
 * spool/format.h - the bytes on disk (docs/formats/log.md): segment header, batch header, records.
 *
 * Pure: encodes to and decodes from memory, checks every length as hostile input. All integers are
 * little-endian. A segment is SPOOL_UNIT of header, then batches; a batch starts on a unit, holds
 * its header, its directory of records, then the bodies the directory points to, and is padded to
 * a unit. Every checksum is CRC-32C salted with generation, epoch and segment sequence, so that a
 * recycled segment's former content never passes for new.
 */
#ifndef GAPURA_SPOOL_FORMAT_H
#define GAPURA_SPOOL_FORMAT_H

#include "core/addr.h"
#include "core/wire.h"
#include "spool/id.h"

#define SPOOL_UNIT          4096u
#define SPOOL_VERSION       1u
#define SPOOL_BATCH_HEADER  128u
#define SPOOL_RECORD_HEADER 32u

enum spool_stream_kind { /* a stream's number is kind * 256 + index */
                         SPOOL_STREAM_NONE = 0,
                         SPOOL_STREAM_GATE = 1,
                         SPOOL_STREAM_COURIER = 2,
                         SPOOL_STREAM_DESK = 3,
};

/* Compatible flag of a segment: all its bytes have been written once (blocks are not "unwritten").
 */
#define SPOOL_SEGMENT_PREWRITTEN 1u

enum spool_segment_state { SPOOL_SEGMENT_FREE = 1, SPOOL_SEGMENT_USED = 2 };

struct spool_segment {   /* the header's content; the file is named by `number` */
    uint64_t number;     /* of the file; never reused for another file */
    uint64_t generation; /* grows by an unforeseeable step when the file is handed out or freed */
    uint64_t size;       /* bytes of the file, a multiple of SPOOL_UNIT */
    uint64_t seq;        /* position in its stream's epoch: 0, 1, 2 ... */
    uint32_t node, epoch;
    uint16_t stream, version;
    uint8_t state;
    uint32_t compatible, incompatible; /* flags: unknown incompatible ones refuse the reading */
};
void spool_segment_encode(const struct spool_segment *s, uint8_t dst[SPOOL_UNIT]);
/* 0, ERR_CORRUPT, ERR_VERSION */
int spool_segment_decode(const uint8_t src[SPOOL_UNIT], struct spool_segment *ret);
/* What the spooler writes where the first batch will stand, with the header of a segment that it
 * hands out. As long as it is there no batch of this generation ever was durable in the file. */
void spool_fresh_encode(const struct spool_segment *s, uint8_t dst[SPOOL_UNIT]);
bool spool_fresh_is(const struct spool_segment *s, const uint8_t *src, size_t n);
/* The file's name in seg/: "00000042.seg". */
const char *spool_segment_name(uint64_t number, char dst[32]);
int spool_segment_name_parse(struct str name, uint64_t *ret);

struct spool_batch {
    uint64_t length;   /* bytes with padding; a multiple of SPOOL_UNIT */
    uint64_t number;   /* 0, 1, 2 ... within the epoch */
    uint64_t prev_end; /* linear position (see spool/share.h) durable when this was written */
    uint64_t position; /* linear position of this batch within the epoch */
    uint64_t wall;     /* ns; for people only */
    uint32_t nrecords;
    uint32_t dir_bytes;  /* records, behind the header */
    uint32_t dir_crc;    /* of the directory; it holds the checksum of every body */
    uint64_t data_bytes; /* of bodies behind the directory */
    uint32_t flags;
};
#define SPOOL_BATCH_SEAL 1u /* last batch of this segment: a hint, no reader depends on it */
/* First batches after a failure: nothing but VOID records. The segment that begins with one is not
 * freed before all earlier ones of its epoch: it alone keeps the failed batch from coming back. */
#define SPOOL_BATCH_VOID 2u

uint32_t spool_salt(const struct spool_segment *s);
void spool_batch_encode(const struct spool_batch *b, const struct spool_segment *s,
                        uint8_t dst[SPOOL_BATCH_HEADER]);
/* Checks magic, salted header checksum, lengths against `room` (bytes left in the segment). */
int spool_batch_decode(const uint8_t *src, size_t n, const struct spool_segment *s, uint64_t room,
                       struct spool_batch *ret);

enum spool_type {
    SPOOL_MESSAGE = 1,    /* envelope and body; the body in this batch or in chunks named here */
    SPOOL_CHUNK = 2,      /* part of a large body; alive until its message commits or is voided */
    SPOOL_INTENT = 3,     /* about to send the final dot: unknown after a crash */
    SPOOL_OUTCOME = 4,    /* what became of recipients */
    SPOOL_VOID = 5,       /* ids that must not exist: their batch failed and the client got 451 */
    SPOOL_SCOPE = 6,      /* suspend, resume, purge, move: one record for many messages */
    SPOOL_COPY = 7,       /* compaction: a message with its remaining recipients and their state */
    SPOOL_RESERVED_8 = 8, /* no record of this version: readers pass over it */
};
/* Records from 0x80 on are compatible extensions: unknown ones are skipped. Others refuse. */
#define SPOOL_TYPE_COMPATIBLE 0x80u

struct spool_record { /* common header of each record in a directory */
    uint8_t type, flags;
    uint8_t key, compression; /* reserved: 0 */
    uint32_t length;          /* of the whole record with this header, a multiple of 8 */
    uint64_t seq;             /* of the message (MESSAGE, CHUNK) or of the record in its epoch */
    uint64_t body_off;        /* from the batch's start; 0 if there is none */
    uint32_t body_len;
    uint32_t body_crc;  /* CRC-32C of the body bytes, salted like the rest */
    struct str payload; /* view: what follows the header, without padding bytes */
};
/* Bytes that a record with this payload takes in a directory. */
#define SPOOL_RECORD_SIZE(payload_bytes)                                                           \
    round_up(SPOOL_RECORD_HEADER + (uint64_t)(payload_bytes), 8)
/* Writes one record into room of SPOOL_RECORD_SIZE() bytes and returns that size. */
size_t spool_record_put(uint8_t *dst, const struct spool_record *r);
/* Appends one record with its payload to a directory under construction. */
void spool_record_encode(struct buf *dir, const struct spool_record *r);
/* Reads the record at *at of a directory; advances. 1 got one, 0 end, ERR_CORRUPT, ERR_VERSION. */
int spool_record_next(struct str dir, size_t *at, struct spool_record *ret);

/* Where something lies: a segment of a stream's epoch, and a byte offset in its file. */
struct spool_loc {
    uint64_t segment; /* file number */
    uint64_t offset;
};

#endif
