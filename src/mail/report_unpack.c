/*
 * mail/report_unpack.c - the packing of a report taken off: gzip as it comes, zip once it is whole;
 * at most two layers, since some senders pack twice.
 *
 * Called by mail/report.c. A zip is read by its directory at the end, one entry of it: a report is
 * alone in its archive. Never writes a file, never believes a size that it has not counted.
 */
#include <stdlib.h>
#include <zlib.h>

#include "mail/report_inner.h"

#define LAYERS      2u
#define PIECE       (16u << 10)
#define ZIP_ENTRIES 64u
#define ZIP_END_MAX (22u + 65535u) /* the end record with the longest comment */

enum form { FORM_UNKNOWN, FORM_PLAIN, FORM_GZIP, FORM_ZIP };

struct layer {
    enum form form;
    uint8_t nhead; /* bytes that tell the form */
    char head[4];
    z_stream z;
    bool z_open, z_ended; /* ended: behind the last member */
    struct buf zip;
    uint64_t out; /* bytes that came out of it */
};
struct report_unpack {
    struct report_limits limits;
    int (*out)(void *ctx, const char *p, size_t n, struct why *why);
    void *ctx;
    uint64_t in;
    struct layer layers[LAYERS + 1]; /* the last one can only be plain */
};

static int layer_feed(struct report_unpack *, unsigned at, const char *p, size_t n, struct why *);

int
report_unpack_open(struct report_unpack **ret, const struct report_limits *limits,
                   int (*out)(void *ctx, const char *p, size_t n, struct why *why), void *ctx)
{
    struct report_unpack *u = calloc(1, sizeof(*u));

    *ret = u;
    if (!u)
        return ERR_NOMEM;
    u->limits = *limits;
    u->out = out;
    u->ctx = ctx;
    return 0;
}

void
report_unpack_close(struct report_unpack *u)
{
    if (!u)
        return;
    for (unsigned i = 0; i < ARRAY_LEN(u->layers); i++) {
        if (u->layers[i].z_open)
            inflateEnd(&u->layers[i].z);
        buf_done(&u->layers[i].zip);
    }
    free(u);
}

uint64_t
report_unpack_spent(const struct report_unpack *u)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < ARRAY_LEN(u->layers); i++)
        n += u->layers[i].out;
    return n;
}

static enum form
form_of(const char *head, unsigned n)
{
    if (n >= 2 && !memcmp(head, "\x1f\x8b", 2))
        return FORM_GZIP;
    if (n >= 4 && !memcmp(head, "PK\3\4", 4))
        return FORM_ZIP;
    if ((n == 1 && (head[0] == '\x1f' || head[0] == 'P')) || (n < 4 && !memcmp(head, "PK\3\4", n)))
        return FORM_UNKNOWN;
    return FORM_PLAIN;
}

/* What came out of layer `at`. */
static int
unpacked(struct report_unpack *u, unsigned at, const char *p, size_t n, struct why *why)
{
    u->layers[at].out += n;
    if (u->layers[at].out > u->limits.bytes)
        return why_set(why, ERR_LIMIT, "unpacked it has more than %llu bytes",
                       (unsigned long long)u->limits.bytes);
    return layer_feed(u, at + 1, p, n, why);
}

/* ---- gzip --------------------------------------------------------------------------------------
 */

/* One member after another; behind the last one what is no member is left alone: senders add line
 * ends and zeros. */
static int
gzip_feed(struct report_unpack *u, unsigned at, const char *p, size_t n, struct why *why)
{
    struct layer *l = &u->layers[at];
    __attribute__((uninitialized)) char piece[PIECE];

    if (!l->z_open) {
        if (inflateInit2(&l->z, 16 + MAX_WBITS) != Z_OK)
            return why_set(why, ERR_NOMEM, "no memory to unpack it");
        l->z_open = true;
    }
    l->z.next_in = (Bytef *)(uintptr_t)p;
    l->z.avail_in = (uInt)n;
    while (l->z.avail_in || l->z.avail_out == 0) {
        if (l->z_ended) {
            if (!l->z.avail_in || *l->z.next_in != 0x1f)
                return 0;
            if (inflateReset(&l->z) != Z_OK)
                return why_set(why, ERR_NOMEM, "no memory to unpack it");
            l->z_ended = false;
        }
        l->z.next_out = (Bytef *)piece;
        l->z.avail_out = sizeof(piece);
        int did = inflate(&l->z, Z_NO_FLUSH);
        size_t got = sizeof(piece) - l->z.avail_out;
        int e = got ? unpacked(u, at, piece, got, why) : 0; /* also what came before damage */
        if (e < 0)
            return e;
        if (did != Z_OK && did != Z_STREAM_END && did != Z_BUF_ERROR)
            return why_set(why, did == Z_MEM_ERROR ? ERR_NOMEM : ERR_SYNTAX,
                           "the gzip data is damaged behind byte %lu of it: %s", l->z.total_in,
                           l->z.msg ? l->z.msg : "not of the format");
        if (did == Z_BUF_ERROR)
            return 0;
        l->z_ended = did == Z_STREAM_END;
    }
    return 0;
}

/* ---- zip ---------------------------------------------------------------------------------------
 */

struct entry {
    struct str name, data;
    unsigned method;
    uint32_t crc;
    uint64_t size;
};

static uint32_t
le(struct str s, size_t at, unsigned n)
{
    uint32_t v = 0;

    for (unsigned i = n; i-- > 0;)
        v = v << 8 | (uint8_t)s.p[at + i];
    return v;
}

/* The entry whose row of the directory stands at *at. */
static int
zip_row(struct str zip, size_t *at, struct entry *ret, struct why *why)
{
    size_t head;

    if (zip.n - *at < 46 || memcmp(zip.p + *at, "PK\1\2", 4) != 0)
        return why_set(why, ERR_SYNTAX, "the directory of the zip is damaged");
    struct str row = str_from(zip, *at);
    size_t name_n = le(row, 28, 2), packed = le(row, 20, 4);
    size_t whole = 46 + name_n + le(row, 30, 2) + le(row, 32, 2);
    if (row.n < whole)
        return why_set(why, ERR_SYNTAX, "the directory of the zip is cut off");
    *at += whole;
    *ret = (struct entry){.name = str_sub(row, 46, name_n),
                          .method = le(row, 10, 2),
                          .crc = le(row, 16, 4),
                          .size = le(row, 24, 4)};
    if (le(row, 8, 2) & 1)
        return why_set(why, ERR_UNSUPPORTED, "the zip is encrypted");
    head = le(row, 42, 4);
    if (head > zip.n || zip.n - head < 30 || memcmp(zip.p + head, "PK\3\4", 4) != 0)
        return why_set(why, ERR_SYNTAX, "the zip has no entry where its directory says");
    head += 30 + le(zip, head + 26, 2) + le(zip, head + 28, 2);
    if (head > zip.n || zip.n - head < packed)
        return why_set(why, ERR_SYNTAX, "the zip is cut off within an entry");
    ret->data = str_sub(zip, head, packed);
    return 0;
}

static bool
name_fits(struct str name)
{
    return str_iends(name, STR(".xml")) || str_iends(name, STR(".json")) ||
           str_iends(name, STR(".gz"));
}

/* Folders, and what file managers add. */
static bool
name_is_noise(struct str name)
{
    ssize_t slash = str_rchr(name, '/');
    struct str base = slash < 0 ? name : str_from(name, (size_t)slash + 1);

    return str_starts(name, STR("__MACOSX/")) || (slash >= 0 && base.n == 0) ||
           (base.n && base.p[0] == '.');
}

/* The entry that is the report: the first with a fitting name, else the first. */
static int
zip_choose(struct str zip, struct entry *ret, struct why *why)
{
    size_t lowest = zip.n > ZIP_END_MAX ? zip.n - ZIP_END_MAX : 0, end = zip.n;
    bool found = false, fits = false;

    for (size_t i = zip.n < 22 ? 0 : zip.n - 21; i-- > lowest && end == zip.n;)
        end = memcmp(zip.p + i, "PK\5\6", 4) == 0 ? i : end;
    if (end == zip.n)
        return why_set(why, ERR_SYNTAX, "the zip is cut off: it has no directory");
    unsigned n = le(zip, end + 10, 2);
    size_t at = le(zip, end + 16, 4);
    if (n > ZIP_ENTRIES || at > end)
        return why_set(why, ERR_SYNTAX, "the zip has %u entries: a report is alone in its archive",
                       n);
    for (unsigned i = 0; i < n && !fits; i++) {
        struct entry e = {.method = 0};
        int did = zip_row(str_sub(zip, 0, end), &at, &e, why);
        if (did < 0)
            return did;
        if (name_is_noise(e.name) || (found && !name_fits(e.name)))
            continue;
        *ret = e;
        found = true;
        fits = name_fits(e.name);
    }
    return found ? 0 : why_set(why, ERR_SYNTAX, "the zip holds no file");
}

static int
zip_inflate(struct report_unpack *u, unsigned at, const struct entry *e, uint32_t *crc,
            struct why *why)
{
    __attribute__((uninitialized)) char piece[PIECE];
    struct layer *l = &u->layers[at];
    int did = Z_OK;

    if (inflateInit2(&l->z, -MAX_WBITS) != Z_OK)
        return why_set(why, ERR_NOMEM, "no memory to unpack it");
    l->z_open = true;
    l->z.next_in = (Bytef *)(uintptr_t)e->data.p;
    l->z.avail_in = (uInt)e->data.n;
    while (did == Z_OK) {
        l->z.next_out = (Bytef *)piece;
        l->z.avail_out = sizeof(piece);
        did = inflate(&l->z, Z_NO_FLUSH);
        size_t got = sizeof(piece) - l->z.avail_out;
        *crc = (uint32_t)crc32(*crc, (Bytef *)piece, (uInt)got);
        int failed = got ? unpacked(u, at, piece, got, why) : 0;
        if (failed < 0)
            return failed;
    }
    if (did != Z_STREAM_END)
        return why_set(why, ERR_SYNTAX, "the zip is damaged: %s",
                       l->z.msg ? l->z.msg : "its data ends early");
    return 0;
}

static int
zip_end(struct report_unpack *u, unsigned at, struct why *why)
{
    struct layer *l = &u->layers[at];
    struct entry e = {.method = 0};
    uint32_t crc = 0;
    int did = zip_choose(buf_view(&l->zip), &e, why);

    if (did < 0)
        return did;
    if (e.method == 8) {
        did = zip_inflate(u, at, &e, &crc, why);
    } else if (e.method == 0) {
        crc = (uint32_t)crc32(0, (const Bytef *)e.data.p, (uInt)e.data.n);
        did = unpacked(u, at, e.data.p, e.data.n, why);
    } else {
        return why_set(why, ERR_UNSUPPORTED, "the zip is packed by method %u; 0 and 8 are known",
                       e.method);
    }
    if (did == 0 && (crc != e.crc || l->out != e.size))
        return why_set(why, ERR_SYNTAX, "the zip is damaged: its checksum or size is another");
    return did;
}

/* ---- layers ------------------------------------------------------------------------------------
 */

static int
layer_bytes(struct report_unpack *u, unsigned at, const char *p, size_t n, struct why *why)
{
    struct layer *l = &u->layers[at];

    switch (l->form) {
    case FORM_GZIP:
        return gzip_feed(u, at, p, n, why);
    case FORM_ZIP:
        buf_add(&l->zip, p, n);
        return l->zip.failed
                   ? why_set(why, ERR_LIMIT, "the zip has more than %zu bytes", l->zip.max)
                   : 0;
    default:
        return u->out(u->ctx, p, n, why);
    }
}

/* Its form is known, or its bytes have ended. */
static int
layer_begin(struct report_unpack *u, unsigned at, enum form form, struct why *why)
{
    struct layer *l = &u->layers[at];

    if (at == LAYERS && form != FORM_PLAIN)
        return why_set(why, ERR_LIMIT, "it is packed more than %u times", LAYERS);
    l->form = form;
    buf_init(&l->zip, MIN(u->limits.packed, (uint64_t)UINT32_MAX / 2));
    return layer_bytes(u, at, l->head, l->nhead, why);
}

static int
layer_feed(struct report_unpack *u, unsigned at, const char *p, size_t n, struct why *why)
{
    struct layer *l = &u->layers[at];

    while (n && l->form == FORM_UNKNOWN) {
        l->head[l->nhead++] = *p++;
        n--;
        enum form form = form_of(l->head, l->nhead);
        int did = form == FORM_UNKNOWN ? 0 : layer_begin(u, at, form, why);
        if (did < 0)
            return did;
    }
    return n ? layer_bytes(u, at, p, n, why) : 0;
}

int
report_unpack_feed(struct report_unpack *u, const char *p, size_t n, struct why *why)
{
    u->in += n;
    if (u->in > u->limits.packed)
        return why_set(why, ERR_LIMIT, "it has more than %llu bytes",
                       (unsigned long long)u->limits.packed);
    for (size_t at = 0; at < n; at += UINT32_MAX / 2) { /* zlib counts in 32 bits */
        int did = layer_feed(u, 0, p + at, MIN(n - at, (size_t)UINT32_MAX / 2), why);
        if (did < 0)
            return did;
    }
    return 0;
}

int
report_unpack_end(struct report_unpack *u, struct why *why)
{
    for (unsigned at = 0; at <= LAYERS; at++) {
        struct layer *l = &u->layers[at];
        int did = 0;

        if (l->form == FORM_UNKNOWN && l->nhead)
            did = layer_begin(u, at, FORM_PLAIN, why);
        else if (l->form == FORM_ZIP)
            did = zip_end(u, at, why);
        else if (l->form == FORM_GZIP && !l->z_ended)
            did = why_set(why, ERR_SYNTAX, "the gzip data is cut off");
        if (did < 0)
            return did;
    }
    return 0;
}

bool
report_gzip(struct str text, struct buf *out)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)text.p, .avail_in = (uInt)text.n};
    int did = Z_OK;

    if (text.n > UINT32_MAX / 2 || deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED,
                                                16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    while (did == Z_OK && !out->failed) {
        __attribute__((uninitialized)) char piece[PIECE];
        z.next_out = (Bytef *)piece;
        z.avail_out = sizeof(piece);
        did = deflate(&z, Z_FINISH);
        buf_add(out, piece, sizeof(piece) - z.avail_out);
    }
    deflateEnd(&z);
    return did == Z_STREAM_END && !out->failed;
}
