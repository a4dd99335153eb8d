/*
 * tests/unit/test_spool_format.c - ids, headers, records: both ways, hostile bytes, golden file.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/err.h"
#include "spool/reader.h"
#include "spool_golden.h"
#include "tap.h"

static uint8_t golden[GOLDEN_UNITS * SPOOL_UNIT];

static void
test_names(void)
{
    struct spool_id id = {0xa1b2c3d4, 9, UINT64_C(0x123456789abc)}, back;
    char text[SPOOL_ID_TEXT], name[32];
    uint8_t low[16], high[16];
    uint64_t number;

    IS(spool_id_parse(str_c(spool_id_show(&id, text)), &back), 0, "id text parses");
    OK(spool_id_eq(&id, &back) && strlen(text) == 26, "id comes back from 26 characters");
    IS(spool_id_parse(STR("short"), &back), ERR_SYNTAX, "short id refused");
    spool_id_bytes(&id, low);
    spool_id_from(low, &back);
    OK(spool_id_eq(&id, &back), "id comes back from bytes");
    id.seq++;
    spool_id_bytes(&id, high);
    OK(memcmp(low, high, 16) < 0, "bytes sort by age");
    TEXT(str_c(spool_segment_name(42, name)), "00000042.seg", "file name");
    IS(spool_segment_name_parse(STR("00000042.seg"), &number), 0, "file name parses");
    IS(number, 42, "file number");
    IS(spool_segment_name_parse(STR("42.seg"), &number), ERR_SYNTAX, "one name a number");
    IS(spool_segment_name_parse(STR("00000042.tmp"), &number), ERR_SYNTAX, "other suffix");
}

static void
test_segment_header(void)
{
    struct spool_segment s = golden_segment, back;
    uint8_t page[SPOOL_UNIT];
    unsigned passed = 0;

    spool_segment_encode(&s, page);
    IS(spool_segment_decode(page, &back), 0, "header decodes");
    OK(memcmp(&s, &back, sizeof s) == 0 || (back.generation == s.generation && back.seq == s.seq &&
                                            back.compatible == s.compatible),
       "header comes back");
    for (unsigned bit = 0; bit < 512 * 8; bit++) {
        page[bit / 8] ^= (uint8_t)(1 << bit % 8);
        passed += spool_segment_decode(page, &back) == 0;
        page[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    IS(passed, 0, "no flipped bit of the first sector passes");
    s.compatible = 0x8000;
    spool_segment_encode(&s, page);
    IS(spool_segment_decode(page, &back), 0, "unknown compatible flag is read");
    s.incompatible = 1;
    spool_segment_encode(&s, page);
    IS(spool_segment_decode(page, &back), ERR_VERSION, "unknown incompatible flag refuses");
    s.incompatible = 0;
    s.version = SPOOL_VERSION + 1;
    spool_segment_encode(&s, page);
    IS(spool_segment_decode(page, &back), ERR_VERSION, "newer version refuses");
    s = golden_segment;
    s.size = 5000;
    spool_segment_encode(&s, page);
    IS(spool_segment_decode(page, &back), ERR_CORRUPT, "size off the unit");
}

static void
test_batch_header(void)
{
    struct spool_batch b = {.length = 8192,
                            .number = 5,
                            .prev_end = 4096,
                            .position = 4096,
                            .nrecords = 2,
                            .dir_bytes = 128,
                            .dir_crc = 1,
                            .data_bytes = 4000};
    struct spool_segment s = golden_segment;
    struct spool_batch back;
    uint8_t h[SPOOL_BATCH_HEADER];
    unsigned passed = 0;

    spool_batch_encode(&b, &s, h);
    IS(spool_batch_decode(h, sizeof h, &s, 8192, &back), 0, "batch header decodes");
    OK(memcmp(&b, &back, sizeof b) == 0, "batch header comes back");
    IS(spool_batch_decode(h, sizeof h, &s, 4096, &back), ERR_CORRUPT, "longer than its room");
    IS(spool_batch_decode(h, sizeof h - 1, &s, 8192, &back), ERR_CORRUPT, "cut short");
    for (unsigned bit = 0; bit < sizeof h * 8; bit++) {
        h[bit / 8] ^= (uint8_t)(1 << bit % 8);
        passed += spool_batch_decode(h, sizeof h, &s, 8192, &back) == 0;
        h[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    IS(passed, 0, "no flipped bit passes");
    s.generation++;
    IS(spool_batch_decode(h, sizeof h, &s, 8192, &back), ERR_CORRUPT, "another generation");
    s = golden_segment;
    s.seq++;
    IS(spool_batch_decode(h, sizeof h, &s, 8192, &back), ERR_CORRUPT, "another segment");
    s = golden_segment;
    s.epoch++;
    IS(spool_batch_decode(h, sizeof h, &s, 8192, &back), ERR_CORRUPT, "another epoch");
    s = golden_segment;
    b.dir_bytes = 8200;
    spool_batch_encode(&b, &s, h);
    IS(spool_batch_decode(h, sizeof h, &s, 8192, &back), ERR_CORRUPT, "directory out of bounds");
    b.dir_bytes = 128;
    b.prev_end = 8192;
    spool_batch_encode(&b, &s, h);
    IS(spool_batch_decode(h, sizeof h, &s, 8192, &back), ERR_CORRUPT, "ends before it begins");
}

static void
test_records(void)
{
    struct spool_record r = {.type = SPOOL_MESSAGE,
                             .seq = 3,
                             .body_off = 8,
                             .body_len = 9,
                             .body_crc = 10,
                             .payload = STR("abc")},
                        got;
    CLEANUP(buf_done) struct buf dir;
    size_t at = 0;

    buf_init(&dir, 4096);
    spool_record_encode(&dir, &r);
    IS(dir.n, 40, "three bytes pad to eight");
    r.type = 0x90;
    spool_record_encode(&dir, &r);
    r.type = SPOOL_VOID;
    r.payload = STR_NONE;
    spool_record_encode(&dir, &r);
    IS(spool_record_next(buf_view(&dir), &at, &got), 1, "first record");
    TEXT(got.payload, "abc", "its payload without padding");
    OK(got.seq == 3 && got.body_off == 8 && got.body_len == 9 && got.body_crc == 10, "its fields");
    IS(got.length, 40, "its length in the directory");
    IS(spool_record_next(buf_view(&dir), &at, &got), 1, "second one");
    IS(got.type, SPOOL_VOID, "the compatible extension was stepped over");
    IS(spool_record_next(buf_view(&dir), &at, &got), 0, "end");
    dir.p[39] = 1;
    at = 0;
    IS(spool_record_next(buf_view(&dir), &at, &got), ERR_CORRUPT, "padding must be zero");
    dir.p[39] = 0;
    dir.p[0] = 0x20;
    at = 0;
    IS(spool_record_next(buf_view(&dir), &at, &got), ERR_VERSION, "unknown type refuses");
    dir.p[0] = SPOOL_MESSAGE;
    dir.p[2] = 1;
    at = 0;
    IS(spool_record_next(buf_view(&dir), &at, &got), ERR_VERSION, "key id is reserved");
}

/* Decodes by type; reads every row that the decoder promises. Returns its result. */
static int
decode_any(const struct spool_record *r)
{
    struct spool_copy_state state;
    struct spool_envelope env;
    struct spool_outcome o;
    struct spool_intent i;
    struct spool_scope s;
    struct spool_void v;
    struct spool_chunk c;
    struct spool_rcpt rcpt;
    struct str states;
    uint32_t n = 0, sum = 0;
    size_t at = 0;
    int err = ERR_CORRUPT;

    switch (r->type) {
    case SPOOL_MESSAGE:
        err = spool_envelope_decode(r, 1, 2, &env);
        break;
    case SPOOL_COPY:
        err = spool_copy_decode(r, &env, &states);
        for (; err == 0 && n < env.nrcpt; n++)
            ENSURE(spool_copy_state_at(states, n, &state) == 0);
        n = 0;
        break;
    case SPOOL_INTENT:
        err = spool_intent_decode(r, &i);
        for (; err == 0 && n < i.nordinals; n++)
            sum += spool_ordinal_at(i.ordinals_wire, n);
        return err;
    case SPOOL_OUTCOME:
        err = spool_outcome_decode(r, &o);
        for (; err == 0 && n < o.nordinals; n++)
            sum += spool_ordinal_at(o.ordinals_wire, n);
        return err;
    case SPOOL_VOID:
        return spool_void_decode(r, &v);
    case SPOOL_SCOPE:
        return spool_scope_decode(r, &s);
    default:
        return sum == 1;
    }
    while (err == 0 && spool_rcpt_next(&env, &at, &rcpt) == 1)
        n++;
    ENSURE(err < 0 || n == env.nrcpt);
    at = n = 0;
    while (err == 0 && spool_chunk_next(&env, &at, &c) == 1)
        n++;
    ENSURE(err < 0 || n == env.nchunks);
    return err;
}

/* Each payload in memory of exactly its size, so that one byte too far is seen by the sanitizer. */
static void
test_hostile_payloads(void)
{
    unsigned long cut_passed = 0, tried = 0;

    for (unsigned i = 0; i < GOLDEN_RECORDS; i++) {
        CLEANUP(buf_done) struct buf b;
        struct spool_record r = {.seq = 1};
        buf_init(&b, 1 << 16);
        r.type = golden_payload(i, &b);
        if (r.type == SPOOL_CHUNK)
            continue;
        r.payload = buf_view(&b);
        IS(decode_any(&r), 0, "payload %u decodes", i);
        for (size_t n = 0; n < b.n; n++) {
            char *copy = malloc(n + !n);
            memcpy(copy, b.p, n);
            r.payload = str_of(copy, n);
            cut_passed += decode_any(&r) == 0;
            free(copy);
        }
        for (size_t bit = 0; bit < b.n * 8; bit++) {
            char *copy = malloc(b.n);
            memcpy(copy, b.p, b.n);
            copy[bit / 8] ^= (char)(1 << bit % 8);
            r.payload = str_of(copy, b.n);
            decode_any(&r);
            tried++;
            free(copy);
        }
        put_u16(&b, 7); /* a tagged field of a later version */
        put_str(&b, STR("later"));
        r.payload = buf_view(&b);
        IS(decode_any(&r), 0, "payload %u with an unknown tail decodes", i);
        put_u8(&b, 1);
        r.payload = buf_view(&b);
        OK(decode_any(&r) < 0, "payload %u with a broken tail does not", i);
    }
    IS(cut_passed, 0, "no payload decodes when cut short");
    OK(tried > 1000, "flipped bits were survived");
}

static bool
read_golden(const char *name)
{
    static const char *const places[] = {"tests/golden/", "../tests/golden/",
                                         "../../tests/golden/"};
    size_t got = 0;

    for (size_t i = 0; i < ARRAY_LEN(places) && got == 0; i++) {
        char path[256];
        FILE *f;
        str_fmt(path, sizeof path, "%s%s", places[i], name);
        f = fopen(path, "rb");
        if (!f)
            continue;
        got = fread(golden, 1, sizeof golden, f);
        fclose(f);
    }
    return got == sizeof golden;
}

struct seen {
    uint8_t (*payload_of)(unsigned i, struct buf *out);
    unsigned n, damages;
    uint64_t first_position, last_position, after, before, from, to;
    bool good;
};

static int
seen_record(void *ctx, const struct spool_place *place, const struct spool_record *r)
{
    struct seen *s = ctx;
    CLEANUP(buf_done) struct buf want;
    unsigned i = (unsigned)(r->seq - 41);

    buf_init(&want, 1 << 16);
    s->good = s->good && s->payload_of(i, &want) == r->type && str_eq(buf_view(&want), r->payload);
    if (s->n++ == 0)
        s->first_position = place->position;
    s->last_position = place->position;
    if (r->body_len)
        s->good = s->good && r->body_len == sizeof GOLDEN_BODY - 1 &&
                  memcmp(golden + place->batch.offset + r->body_off, GOLDEN_BODY, r->body_len) == 0;
    return 0;
}

static void
seen_damage(void *ctx, UNUSED const struct spool_segment *g, uint64_t from, uint64_t to,
            uint64_t after, uint64_t before)
{
    struct seen *s = ctx;

    s->damages++;
    s->from = from;
    s->to = to;
    s->after = after;
    s->before = before;
}

static char dir[] = "/tmp/gapura-golden-XXXXXX";

static void
write_segment(const uint8_t *bytes)
{
    char path[96], name[32];
    int fd;

    str_fmt(path, sizeof path, "%s/seg/%s", dir, spool_segment_name(golden_segment.number, name));
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ENSURE(fd >= 0 && write(fd, bytes, sizeof golden) == sizeof golden);
    fd_close(&fd);
}

static int
read_segment(struct seen *s, bool last)
{
    static const struct spool_reader_ops ops = {seen_record, seen_damage, NULL};
    uint64_t end;

    *s = (struct seen){.good = true, .payload_of = s->payload_of ? s->payload_of : golden_payload};
    return spool_segment_read(dir, &golden_segment, SPOOL_UNIT, last, NULL, &ops, s, &end);
}

static void
test_golden(void)
{
    static uint8_t again[sizeof golden];
    struct spool_segment s;
    struct seen seen = {0};

    if (!OK(read_golden(GOLDEN_FILE), "golden file is there"))
        return;
    golden_make(again);
    OK(memcmp(golden, again, sizeof golden) == 0, "version 1 is still written as it was");
    IS(spool_segment_decode(golden, &s), 0, "golden header decodes");
    OK(s.generation == golden_segment.generation && s.epoch == 9 && s.stream == 0x101,
       "golden header's fields");
    write_segment(golden);
    IS(read_segment(&seen, true), 0, "golden segment is read");
    OK(seen.good, "every golden record and body is as it was written");
    IS(seen.n, GOLDEN_RECORDS, "golden records");
    IS(seen.damages, 0, "no damage");
    IS(seen.first_position, 81920, "position");
}

/* Tagged fields of an envelope: written once for ever, and whole on the way back. */
static void
test_tags(void)
{
    static uint8_t again[sizeof golden];
    struct seen seen = {.payload_of = golden_tagged};
    CLEANUP(buf_done) struct buf b, later;
    struct spool_envelope env = golden_envelope(), back;
    struct spool_record r = {.type = SPOOL_MESSAGE, .seq = 41};

    if (!OK(read_golden(GOLDEN_TAGS), "golden file is there"))
        return;
    golden_make_tagged(again);
    OK(memcmp(golden, again, sizeof golden) == 0, "tagged fields are still written as they were");
    write_segment(golden);
    IS(read_segment(&seen, true), 0, "golden segment is read");
    OK(seen.good && seen.n == GOLDEN_TAGGED && seen.damages == 0, "all of it");
    buf_init(&b, 1 << 16);
    buf_init(&later, 1 << 16);
    for (int priority = -9; priority <= 9; priority++) {
        env.priority = (int8_t)priority;
        env.by_mode = priority & 1 ? SPOOL_BY_NOTIFY : SPOOL_BY_RETURN;
        env.by_trace = priority & 2;
        env.deliver_by = 1000 + (unsigned)(priority + 9);
        buf_clear(&b);
        spool_envelope_encode(&b, &env, golden_rcpts, NULL);
        r.payload = buf_view(&b);
        OK(spool_envelope_decode(&r, 1, 2, &back) == 0 && back.priority == priority &&
               back.by_mode == env.by_mode && back.by_trace == env.by_trace &&
               back.deliver_by == env.deliver_by,
           "priority %d", priority);
    }
    b.p[b.n - 1] = 19;
    OK(spool_envelope_decode(&r, 1, 2, &back) < 0, "no such priority");
    b.p[b.n - 1] = 18;
    buf_add(&later, b.p, b.n);
    later.p[b.n - 2 - 3] = 3; /* the field's length: a later version says more in it */
    buf_add(&later, "xy", 2);
    put_u16(&later, 900);
    put_str(&later, STR("of another time"));
    r.payload = buf_view(&later);
    IS(spool_envelope_decode(&r, 1, 2, &back), 0, "what a later version adds is passed over");
    IS(back.priority, 9, "what is known is read");
}

/* What came within this version and is in no golden file: there when it was said, and only then. */
static void
test_further_tags(void)
{
    CLEANUP(buf_done) struct buf b;
    struct spool_envelope env = golden_envelope(), back;
    struct spool_record r = {.type = SPOOL_MESSAGE, .seq = 41};
    struct spool_outcome o = {.result = SPOOL_RETRY, .nordinals = 1}, was;
    uint32_t ordinal = 0;

    buf_init(&b, 1 << 16);
    for (unsigned i = 0; i < 2; i++) {
        env.report_to = i ? STR("a@b\0c@d") : STR_NONE;
        buf_clear(&b);
        spool_envelope_encode(&b, &env, golden_rcpts, NULL);
        r.payload = buf_view(&b);
        OK(spool_envelope_decode(&r, 1, 2, &back) == 0 && str_eq(back.report_to, env.report_to),
           "whom failures are told");
    }
    r.type = SPOOL_OUTCOME;
    for (unsigned i = 0; i < 4; i++) {
        o.told = i & 1;
        o.signed_by = i & 2 ? STR("k1") : STR_NONE;
        buf_clear(&b);
        spool_outcome_encode(&b, &o, &ordinal);
        r.payload = buf_view(&b);
        OK(spool_outcome_decode(&r, &was) == 0 && was.told == o.told &&
               str_eq(was.signed_by, o.signed_by),
           "told %u", i & 1);
    }
}

static void
test_damage(void)
{
    static uint8_t bytes[sizeof golden];
    struct seen seen = {0};

    memcpy(bytes, golden, sizeof bytes);
    bytes[2 * SPOOL_UNIT + 200] ^= 1; /* directory of the second batch */
    write_segment(bytes);
    IS(read_segment(&seen, true), 0, "a damaged batch is stepped over");
    IS(seen.n, GOLDEN_RECORDS - 1, "all others are read");
    IS(seen.damages, 1, "and it is told");
    OK(seen.from == 2 * SPOOL_UNIT && seen.to == 3 * SPOOL_UNIT, "where");
    OK(seen.after == 43 && seen.before == 45, "which id is lost");
    memcpy(bytes, golden, sizeof bytes);
    bytes[3 * SPOOL_UNIT + 1] ^= 1;
    write_segment(bytes);
    IS(read_segment(&seen, true), 0, "a torn tail is read up to");
    OK(seen.n == 4 && seen.damages == 0, "and is no damage");
    memcpy(bytes, golden, sizeof bytes);
    bytes[SPOOL_UNIT] ^= 1;
    write_segment(bytes);
    IS(read_segment(&seen, true), 0, "first batch damaged");
    OK(seen.n == 5 && seen.damages == 1 && seen.after == 0 && seen.before == 44, "and told");
}

/* Every single flipped bit: never a wrong record, never a crash. */
static void
test_hostile_segment(void)
{
    static uint8_t bytes[sizeof golden];
    unsigned long wrong = 0, less = 0, tried = 0;
    struct seen seen = {0};

    memcpy(bytes, golden, sizeof bytes);
    for (size_t at = SPOOL_UNIT; at < sizeof bytes; at++) {
        if (at % SPOOL_UNIT > 700 && at % 97 != 0)
            continue;
        bytes[at] ^= (uint8_t)(1 << at % 8);
        write_segment(bytes);
        if (read_segment(&seen, at & 1) < 0 || !seen.good)
            wrong++;
        less += seen.n < GOLDEN_RECORDS;
        tried++;
        bytes[at] = golden[at];
    }
    IS(wrong, 0, "%lu single bits flipped: no record with other bytes", tried);
    OK(less > 500, "flips in covered bytes were noticed");
}

int
main(void)
{
    char path[64];

    test_names();
    test_segment_header();
    test_batch_header();
    test_records();
    test_hostile_payloads();
    ENSURE(mkdtemp(dir));
    str_fmt(path, sizeof path, "%s/seg", dir);
    ENSURE(mkdir(path, 0700) == 0);
    test_golden();
    test_further_tags();
    test_damage();
    test_hostile_segment();
    test_tags();
    str_fmt(path, sizeof path, "%s/seg/00000007.seg", dir);
    unlink(path);
    str_fmt(path, sizeof path, "%s/seg", dir);
    rmdir(path);
    rmdir(dir);
    return tap_done();
}
