/*
 * spool/format.c - segment headers, batch headers and records as bytes, both ways.
 *
 * Called by the writer (encode), by recovery, the tail and the pool (decode). Pure: never reads a
 * file, never allocates, never trusts a length. The layout is written down in docs/formats/log.md;
 * a change here without a change there and in the golden files is a mistake.
 */
#include "spool/format.h"

#include "core/crc32c.h"
#include "core/err.h"
#include "spool/le.h"

static const uint8_t segment_magic[8] = {'G', 'A', 'P', 'U', 'R', 'S', 'E', 'G'};
static const uint8_t batch_magic[4] = {'G', 'B', 'A', 'T'};
static const uint8_t fresh_magic[4] = {'G', 'N', 'E', 'W'};

#define FRESH_BYTES 64u

/* The header's checksum and all it covers lie in the first sector: no device tears that. */
#define SEGMENT_CRC_AT 508u

#define INCOMPATIBLE_KNOWN 0u

const char *
spool_segment_name(uint64_t number, char dst[32])
{
    str_fmt(dst, 32, "%08llu.seg", (unsigned long long)number);
    return dst;
}

int
spool_segment_name_parse(struct str name, uint64_t *ret)
{
    char again[32];
    uint64_t n;

    if (!str_ends(name, STR(".seg")) || str_u64(str_sub(name, 0, name.n - 4), &n) < 0)
        return ERR_SYNTAX;
    if (!str_eq(name, str_c(spool_segment_name(n, again)))) /* one name a number */
        return ERR_SYNTAX;
    *ret = n;
    return 0;
}

void
spool_segment_encode(const struct spool_segment *s, uint8_t dst[SPOOL_UNIT])
{
    memset(dst, 0, SPOOL_UNIT);
    memcpy(dst, segment_magic, sizeof segment_magic);
    le_put16(dst + 8, s->version ? s->version : SPOOL_VERSION);
    le_put16(dst + 10, s->stream);
    dst[12] = s->state;
    le_put32(dst + 16, s->compatible);
    le_put32(dst + 20, s->incompatible);
    le_put64(dst + 24, s->number);
    le_put64(dst + 32, s->generation);
    le_put64(dst + 40, s->size);
    le_put64(dst + 48, s->seq);
    le_put32(dst + 56, s->node);
    le_put32(dst + 60, s->epoch);
    le_put32(dst + SEGMENT_CRC_AT, crc32c(0, dst, SEGMENT_CRC_AT));
}

int
spool_segment_decode(const uint8_t src[SPOOL_UNIT], struct spool_segment *ret)
{
    struct spool_segment s = {0};

    if (memcmp(src, segment_magic, sizeof segment_magic) != 0)
        return ERR_CORRUPT;
    if (le_get32(src + SEGMENT_CRC_AT) != crc32c(0, src, SEGMENT_CRC_AT))
        return ERR_CORRUPT;
    s.version = le_get16(src + 8);
    s.stream = le_get16(src + 10);
    s.state = src[12];
    s.compatible = le_get32(src + 16);
    s.incompatible = le_get32(src + 20);
    s.number = le_get64(src + 24);
    s.generation = le_get64(src + 32);
    s.size = le_get64(src + 40);
    s.seq = le_get64(src + 48);
    s.node = le_get32(src + 56);
    s.epoch = le_get32(src + 60);
    if (s.version == 0 || s.version > SPOOL_VERSION || (s.incompatible & ~INCOMPATIBLE_KNOWN) != 0)
        return ERR_VERSION;
    if (s.state != SPOOL_SEGMENT_FREE && s.state != SPOOL_SEGMENT_USED)
        return ERR_CORRUPT;
    if (s.size % SPOOL_UNIT != 0 || s.size < 2 * SPOOL_UNIT || s.size > UINT64_C(1) << 40)
        return ERR_CORRUPT;
    *ret = s;
    return 0;
}

uint32_t
spool_salt(const struct spool_segment *s)
{
    uint8_t b[28];

    le_put64(b, s->generation);
    le_put64(b + 8, s->seq);
    le_put32(b + 16, s->epoch);
    le_put32(b + 20, s->node);
    le_put32(b + 24, s->stream);
    return crc32c(0, b, sizeof b);
}

void
spool_fresh_encode(const struct spool_segment *s, uint8_t dst[SPOOL_UNIT])
{
    memset(dst, 0, SPOOL_UNIT);
    memcpy(dst, fresh_magic, sizeof fresh_magic);
    le_put64(dst + 8, s->generation);
    le_put64(dst + 16, s->number);
    le_put32(dst + 4, crc32c(spool_salt(s), dst + 8, FRESH_BYTES - 8));
}

bool
spool_fresh_is(const struct spool_segment *s, const uint8_t *src, size_t n)
{
    uint8_t want[SPOOL_UNIT];

    spool_fresh_encode(s, want);
    return n >= FRESH_BYTES && memcmp(src, want, FRESH_BYTES) == 0;
}

void
spool_batch_encode(const struct spool_batch *b, const struct spool_segment *s,
                   uint8_t dst[SPOOL_BATCH_HEADER])
{
    memset(dst, 0, SPOOL_BATCH_HEADER);
    memcpy(dst, batch_magic, sizeof batch_magic);
    le_put64(dst + 8, b->length);
    le_put64(dst + 16, b->number);
    le_put64(dst + 24, b->prev_end);
    le_put64(dst + 32, b->position);
    le_put64(dst + 40, b->wall);
    le_put32(dst + 48, b->nrecords);
    le_put32(dst + 52, b->dir_bytes);
    le_put32(dst + 56, b->dir_crc);
    le_put32(dst + 60, b->flags);
    le_put64(dst + 64, b->data_bytes);
    le_put64(dst + 72, s->generation);
    le_put64(dst + 80, s->seq);
    le_put32(dst + 88, s->node);
    le_put32(dst + 92, s->epoch);
    le_put32(dst + 4, crc32c(spool_salt(s), dst + 8, SPOOL_BATCH_HEADER - 8));
}

static bool
batch_is_sane(const struct spool_batch *b, uint64_t room)
{
    if (b->length == 0 || b->length % SPOOL_UNIT != 0 || b->length > room)
        return false;
    if (b->dir_bytes % 8 != 0 || b->dir_bytes > b->length - SPOOL_BATCH_HEADER)
        return false;
    if (b->data_bytes > b->length - SPOOL_BATCH_HEADER - b->dir_bytes)
        return false;
    if (b->nrecords > b->dir_bytes / SPOOL_RECORD_HEADER)
        return false;
    if (b->position % SPOOL_UNIT != 0 || b->position > UINT64_MAX - b->length)
        return false;
    return b->prev_end <= b->position;
}

int
spool_batch_decode(const uint8_t *src, size_t n, const struct spool_segment *s, uint64_t room,
                   struct spool_batch *ret)
{
    struct spool_batch b = {0};

    if (n < SPOOL_BATCH_HEADER || memcmp(src, batch_magic, sizeof batch_magic) != 0)
        return ERR_CORRUPT;
    if (le_get64(src + 72) != s->generation || le_get64(src + 80) != s->seq ||
        le_get32(src + 88) != s->node || le_get32(src + 92) != s->epoch)
        return ERR_CORRUPT;
    if (le_get32(src + 4) != crc32c(spool_salt(s), src + 8, SPOOL_BATCH_HEADER - 8))
        return ERR_CORRUPT;
    b.length = le_get64(src + 8);
    b.number = le_get64(src + 16);
    b.prev_end = le_get64(src + 24);
    b.position = le_get64(src + 32);
    b.wall = le_get64(src + 40);
    b.nrecords = le_get32(src + 48);
    b.dir_bytes = le_get32(src + 52);
    b.dir_crc = le_get32(src + 56);
    b.flags = le_get32(src + 60);
    b.data_bytes = le_get64(src + 64);
    if (!batch_is_sane(&b, room))
        return ERR_CORRUPT;
    *ret = b;
    return 0;
}

size_t
spool_record_put(uint8_t *dst, const struct spool_record *r)
{
    size_t exact = SPOOL_RECORD_HEADER + r->payload.n;
    size_t size = SPOOL_RECORD_SIZE(r->payload.n);

    dst[0] = r->type;
    dst[1] = r->flags;
    dst[2] = r->key;
    dst[3] = r->compression;
    le_put32(dst + 4, (uint32_t)exact);
    le_put64(dst + 8, r->seq);
    le_put64(dst + 16, r->body_off);
    le_put32(dst + 24, r->body_len);
    le_put32(dst + 28, r->body_crc);
    if (r->payload.n)
        memcpy(dst + SPOOL_RECORD_HEADER, r->payload.p, r->payload.n);
    memset(dst + exact, 0, size - exact);
    return size;
}

void
spool_record_encode(struct buf *dir, const struct spool_record *r)
{
    size_t size = SPOOL_RECORD_SIZE(r->payload.n);
    char *room;

    if (r->payload.n > UINT32_MAX - SPOOL_RECORD_HEADER - 8) {
        dir->failed = true;
        return;
    }
    room = buf_room(dir, size);
    if (room) {
        spool_record_put((uint8_t *)room, r);
        buf_used(dir, size);
    }
}

/* The record at `p` of `left` bytes; *ret_size gets its bytes in the directory. */
static int
record_decode(const uint8_t *p, size_t left, struct spool_record *ret, size_t *ret_size)
{
    size_t exact, size;

    if (left < SPOOL_RECORD_HEADER)
        return ERR_CORRUPT;
    exact = le_get32(p + 4);
    if (exact < SPOOL_RECORD_HEADER || exact > left)
        return ERR_CORRUPT;
    size = round_up(exact, 8);
    if (size > left)
        return ERR_CORRUPT;
    for (size_t i = exact; i < size; i++) {
        if (p[i] != 0)
            return ERR_CORRUPT;
    }
    *ret = (struct spool_record){
        .type = p[0],
        .flags = p[1],
        .key = p[2],
        .compression = p[3],
        .length = (uint32_t)size,
        .seq = le_get64(p + 8),
        .body_off = le_get64(p + 16),
        .body_len = le_get32(p + 24),
        .body_crc = le_get32(p + 28),
        .payload = str_of(p + SPOOL_RECORD_HEADER, exact - SPOOL_RECORD_HEADER),
    };
    *ret_size = size;
    return 0;
}

int
spool_record_next(struct str dir, size_t *at, struct spool_record *ret)
{
    struct spool_record r;
    size_t size;
    int err;

    while (*at < dir.n) {
        err = record_decode((const uint8_t *)dir.p + *at, dir.n - *at, &r, &size);
        if (err < 0)
            return err;
        if (r.type & SPOOL_TYPE_COMPATIBLE) {
            *at += size;
            continue;
        }
        if (r.type == 0 || r.type > SPOOL_RESERVED_8 || r.key != 0 || r.compression != 0)
            return ERR_VERSION;
        *at += size;
        *ret = r;
        return 1;
    }
    return 0;
}
