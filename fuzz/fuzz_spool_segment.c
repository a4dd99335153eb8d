/*
 * fuzz/fuzz_spool_segment.c - reading a segment whose writer was hostile: checksums hold, contents
 * lie. Nothing is read outside, nothing runs for ever, and what is told lies inside the file.
 *
 * Checksums are made here, since no fuzzer finds them: the writer that we distrust knows them too.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/crc32c.h"
#include "core/wire.h"
#include "spool/envelope.h"
#include "spool/reader.h"
#include "spool/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define FILE_MAX (1u << 20)

static char dir[64];
static int image = -1;
static uint8_t file[FILE_MAX];
static size_t file_n;

static int
fake_open(void *ctx, int dirfd, const char *name, int flags, unsigned mode)
{
    (void)ctx, (void)dirfd, (void)name, (void)flags, (void)mode;
    return fcntl(image, F_DUPFD_CLOEXEC, 3);
}

static ssize_t
fake_pread(void *ctx, int fd, void *p, size_t n, uint64_t off)
{
    size_t left = off < file_n ? file_n - (size_t)off : 0;

    (void)ctx, (void)fd;
    n = MIN(n, left);
    if (n)
        memcpy(p, file + off, n);
    return (ssize_t)n;
}

static const struct spool_io io = {.open = fake_open, .pread = fake_pread};

static void
remove_dir(void)
{
    char seg[80];

    str_fmt(seg, sizeof seg, "%s/seg", dir);
    rmdir(seg);
    rmdir(dir);
}

static void
begin(void)
{
    char seg[80];

    if (image >= 0)
        return;
    image = memfd_create("image", MFD_CLOEXEC);
    str_fmt(dir, sizeof dir, "/tmp/gapura-fuzz-XXXXXX");
    ENSURE(image >= 0 && mkdtemp(dir));
    str_fmt(seg, sizeof seg, "%s/seg", dir);
    ENSURE(mkdir(seg, 0700) == 0);
    atexit(remove_dir);
}

static void
patch_bodies(uint8_t *batch, size_t room, uint32_t dir_bytes, uint32_t salt)
{
    struct str all = str_of(batch + SPOOL_BATCH_HEADER, dir_bytes);
    struct spool_record r;
    size_t at = 0, was = 0;

    for (; spool_record_next(all, &at, &r) == 1; was = at)
        if (r.body_off < room && r.body_len <= room - r.body_off) {
            uint32_t crc = crc32c(salt, batch + r.body_off, r.body_len);
            memcpy(batch + SPOOL_BATCH_HEADER + was + 28, &crc, sizeof crc);
        }
}

/* One batch out of the input, its checksums right; some of its claims are the input's own. */
static void
put_batch(struct wire *w, const struct spool_segment *s, uint64_t *number)
{
    uint8_t claims = wire_u8(w);
    struct str all = wire_str16(w), bodies = wire_str16(w);
    uint64_t need = SPOOL_BATCH_HEADER + all.n + bodies.n;
    struct spool_batch b = {
        .length = round_up(need, SPOOL_UNIT),
        .number = (*number)++,
        .position = file_n,
        .prev_end = file_n,
        .nrecords = 64,
        .dir_bytes = (uint32_t)all.n & ~7u,
        .data_bytes = bodies.n,
    };
    uint8_t *at = file + file_n;

    if (w->failed || b.length > FILE_MAX - file_n)
        return;
    memset(at, 0, b.length);
    if (all.n)
        memcpy(at + SPOOL_BATCH_HEADER, all.p, all.n);
    if (bodies.n)
        memcpy(at + SPOOL_BATCH_HEADER + b.dir_bytes, bodies.p, bodies.n);
    if (claims & 1)
        b.position = wire_u64(w);
    if (claims & 2)
        b.prev_end = wire_u64(w);
    if (claims & 4)
        b.data_bytes = wire_u64(w);
    if (claims & 8)
        b.nrecords = wire_u32(w);
    if (claims & 16)
        b.number = wire_u64(w);
    if (claims & 32)
        b.flags = wire_u32(w);
    if (!(claims & 64))
        patch_bodies(at, FILE_MAX - file_n, b.dir_bytes, spool_salt(s));
    b.dir_crc = crc32c(spool_salt(s), at + SPOOL_BATCH_HEADER, b.dir_bytes);
    spool_batch_encode(&b, s, at);
    file_n += round_up(need, SPOOL_UNIT);
}

static int
on_record(void *ctx, const struct spool_place *p, const struct spool_record *r)
{
    struct spool_envelope env;
    struct spool_outcome outcome;
    struct spool_rcpt rcpt;
    size_t at = 0;

    (void)ctx;
    ENSURE(p->loc.offset < p->segment->size && p->batch.offset % SPOOL_UNIT == 0);
    ENSURE(p->batch.offset >= SPOOL_UNIT && p->loc.offset > p->batch.offset);
    /* What is read later by these numbers must not lead outside the segment. */
    ENSURE(r->body_len == 0 || p->batch.offset + r->body_off + r->body_len <= p->segment->size);
    if (r->type == SPOOL_MESSAGE && spool_envelope_decode(r, 1, 1, &env) == 0)
        while (spool_rcpt_next(&env, &at, &rcpt) == 1)
            ENSURE(rcpt.address.n <= r->payload.n);
    if (r->type == SPOOL_OUTCOME && spool_outcome_decode(r, &outcome) == 0)
        ENSURE(outcome.text.n <= r->payload.n);
    return 0;
}

static void
on_damage(void *ctx, const struct spool_segment *s, uint64_t from, uint64_t to, uint64_t after,
          uint64_t before)
{
    (void)ctx, (void)s, (void)after, (void)before;
    ENSURE(from <= to);
}

static void
on_end(void *ctx, const struct spool_segment *s)
{
    (void)ctx, (void)s;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct spool_reader_ops ops = {on_record, on_damage, on_end};
    struct spool_segment s = {.number = 1,
                              .generation = 77,
                              .size = 64 * SPOOL_UNIT,
                              .node = 1,
                              .epoch = 1,
                              .stream = 256,
                              .version = 1,
                              .state = SPOOL_SEGMENT_USED};
    struct spool_listing list = {0};
    uint64_t number = 0, end = 0;
    struct wire w;

    begin();
    wire_init(&w, data, n);
    uint8_t how = wire_u8(&w);
    if (how & 1)
        s.size = wire_u64(&w) & ~(uint64_t)(SPOOL_UNIT - 1);
    if (how & 2)
        s.incompatible = wire_u32(&w);
    spool_segment_encode(&s, file);
    file_n = SPOOL_UNIT;
    while (wire_left(&w) && !w.failed && file_n < FILE_MAX - SPOOL_UNIT)
        put_batch(&w, &s, &number);
    struct spool_segment read = {0};
    int rc = spool_segment_decode(file, &read);
    if (rc < 0)
        return 0;
    if (spool_segment_read(dir, &read, SPOOL_UNIT, how & 4, &io, &ops, NULL, &end) == 0)
        ENSURE(end <= read.size);
    (void)spool_epoch_read(dir, &read, 1, &io, &ops, NULL);
    spool_listing_done(&list);
    return 0;
}
