/*
 * tests/support/spool_replay.c - the outside recorder's judge: replays the writes and syncs that
 * the shim saw in a real run, and recovers from every state that power loss could have left.
 *
 *   spool_replay TRACE NAMES ACKS WORKDIR [SAMPLES] [SEED]
 *
 * TRACE: records of tests/shim. NAMES: "INODE NUMBER" of each segment file, a line each. ACKS:
 * "OFFSET ID": the client had that 250 when the trace was OFFSET bytes long. WORKDIR: scratch in
 * memory (tmpfs). Between two syncs of a file any subset of its written 4 KiB units may be on the
 * disk: all subsets up to 12 units, else seeded samples, SAMPLES (10000) in all. Every state is
 * read as a start reads it; each id acknowledged by then must be found with its body intact, and
 * nothing may appear that the trace never wrote. Prints TAP.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/arena.h"
#include "core/crc32c.h"
#include "core/map.h"
#include "spool/reader.h"
#include "tap.h"

#define FILES_MAX        512u
#define UNITS_MAX        4096u
#define UNITS_EXHAUSTIVE 12u

struct head { /* as the shim writes it */
    uint32_t kind, n;
    uint64_t file, off;
};
struct ack {
    uint64_t offset;
    struct spool_id id;
};
struct unit { /* written, not synced */
    unsigned file;
    uint64_t off;
    const uint8_t *data;
};
struct replay {
    const uint8_t *trace;
    uint64_t size;
    struct {
        uint64_t inode, number, length;
        int fd;
        struct unit *pending;
        unsigned npending;
    } files[FILES_MAX];
    unsigned nfiles;
    struct ack *acks;
    size_t nacks;
    char dir[4096];
    uint64_t random, samples, spent, states, barriers, exhaustive, bad;
    /* of the state being read: */
    struct map found; /* id text -> itself */
    struct arena arena;
    uint64_t torn;
};

static uint64_t
next_random(struct replay *r)
{
    uint64_t x = r->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return r->random = x;
}

static void *
map_file(const char *path, uint64_t *ret_size)
{
    CLEANUP(fd_close) int fd = open(path, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        fprintf(stderr, "%s: %s\n", path, err_text(-errno));
        exit(2);
    }
    *ret_size = (uint64_t)st.st_size;
    void *p = mmap(NULL, (size_t)st.st_size + 1, PROT_READ, MAP_PRIVATE, fd, 0);
    ENSURE(p != MAP_FAILED);
    return p;
}

static unsigned
file_of(struct replay *r, uint64_t inode)
{
    for (unsigned i = 0; i < r->nfiles; i++)
        if (r->files[i].inode == inode)
            return i;
    return FILES_MAX;
}

static void
read_names(struct replay *r, const char *path)
{
    uint64_t n;
    struct str rest = str_of(map_file(path, &n), 0), line;
    rest.n = n;
    while (rest.n && r->nfiles < FILES_MAX) {
        line = str_cut(rest, '\n', &rest);
        struct str inode = str_word(&line), number = str_word(&line);
        if (str_u64(inode, &r->files[r->nfiles].inode) ||
            str_u64(number, &r->files[r->nfiles].number))
            continue;
        r->files[r->nfiles].fd = -1;
        r->files[r->nfiles].pending = calloc(UNITS_MAX, sizeof(struct unit));
        r->nfiles++;
    }
}

static void
read_acks(struct replay *r, const char *path)
{
    uint64_t n;
    struct str rest = str_of(map_file(path, &n), 0);
    size_t cap = 0;
    rest.n = n;
    while (rest.n) {
        struct str line = str_cut(rest, '\n', &rest);
        struct str offset = str_word(&line), id = str_word(&line);
        if (r->nacks == cap) {
            cap = cap ? cap * 2 : 1024;
            r->acks = realloc(r->acks, cap * sizeof *r->acks);
            ENSURE(r->acks);
        }
        struct ack *a = &r->acks[r->nacks];
        if (!str_u64(offset, &a->offset) && !spool_id_parse(id, &a->id))
            r->nacks++;
    }
}

static int
open_file(struct replay *r, unsigned i)
{
    if (r->files[i].fd >= 0)
        return r->files[i].fd;
    char path[4200];
    str_fmt(path, sizeof path, "%s/seg/%08llu.seg", r->dir, (unsigned long long)r->files[i].number);
    r->files[i].fd = open(path, O_RDWR | O_CREAT, 0600);
    ENSURE(r->files[i].fd >= 0);
    return r->files[i].fd;
}

static void
put(struct replay *r, const struct unit *u)
{
    ENSURE(pwrite(open_file(r, u->file), u->data, SPOOL_UNIT, (off_t)u->off) == SPOOL_UNIT);
}

static int
on_record(void *ctx, const struct spool_place *p, const struct spool_record *rec)
{
    struct replay *r = ctx;
    if (rec->type != SPOOL_MESSAGE)
        return 0;
    if (rec->body_len) {
        CLEANUP(free_ptr) uint8_t *body = malloc(rec->body_len);
        char path[4200];
        str_fmt(path, sizeof path, "%s/seg/%08llu.seg", r->dir,
                (unsigned long long)p->segment->number);
        CLEANUP(fd_close) int fd = open(path, O_RDONLY);
        ssize_t got = pread(fd, body, rec->body_len, (off_t)(p->batch.offset + rec->body_off));
        if (got != (ssize_t)rec->body_len ||
            crc32c(spool_salt(p->segment), body, rec->body_len) != rec->body_crc) {
            r->torn++;
            return 0;
        }
    }
    struct spool_id id = {p->segment->node, p->segment->epoch, rec->seq};
    char text[SPOOL_ID_TEXT];
    struct str key = arena_str(&r->arena, str_c(spool_id_show(&id, text)));
    ENSURE(key.p);
    map_put(&r->found, key, (void *)(uintptr_t)key.p);
    return 0;
}

/* Reads WORKDIR as a start does; checks that everything acknowledged at `offset` is there. */
static void
check_state(struct replay *r, uint64_t offset)
{
    static const struct spool_reader_ops ops = {.record = on_record};
    struct spool_listing all;
    r->states++;
    map_init(&r->found, 1u << 20, false);
    arena_init(&r->arena, 256u << 20);
    int rc = spool_list(r->dir, NULL, &all, NULL);
    for (size_t i = 0, n; !rc && i < all.n; i += n) {
        for (n = 1; i + n < all.n && all.items[i + n].epoch == all.items[i].epoch;)
            n++;
        rc = spool_epoch_read(r->dir, all.items + i, n, NULL, &ops, r);
    }
    if (rc) {
        r->bad++;
        printf("# recovery failed at %llu: %s\n", (unsigned long long)offset, err_text(rc));
    }
    for (size_t i = 0; !rc && i < r->nacks; i++) {
        char text[SPOOL_ID_TEXT];
        if (r->acks[i].offset > offset ||
            map_get(&r->found, str_c(spool_id_show(&r->acks[i].id, text))))
            continue;
        if (r->bad++ < 5)
            printf("# lost %s, acknowledged at %llu, state at %llu\n", text,
                   (unsigned long long)r->acks[i].offset, (unsigned long long)offset);
    }
    spool_listing_done(&all);
    map_done(&r->found);
    arena_done(&r->arena);
}

/* All files' unsynced units, one list: a sync of one file says nothing of the others. */
static unsigned
gather(struct replay *r, struct unit *dst)
{
    unsigned n = 0;
    for (unsigned i = 0; i < r->nfiles; i++)
        for (unsigned k = 0; k < r->files[i].npending && n < UNITS_MAX; k++)
            dst[n++] = r->files[i].pending[k];
    return n;
}

static void
try_subset(struct replay *r, const struct unit *units, unsigned n, uint64_t offset,
           bool (*chosen)(struct replay *, unsigned i, uint64_t mask), uint64_t mask)
{
    static uint8_t before[UNITS_MAX][SPOOL_UNIT];
    static bool put_in[UNITS_MAX];
    for (unsigned i = 0; i < n; i++) {
        put_in[i] = chosen(r, i, mask);
        if (!put_in[i])
            continue;
        memset(before[i], 0, SPOOL_UNIT);
        ENSURE(pread(open_file(r, units[i].file), before[i], SPOOL_UNIT, (off_t)units[i].off) >= 0);
        put(r, &units[i]);
    }
    check_state(r, offset);
    for (unsigned i = n; i--;)
        if (put_in[i])
            ENSURE(pwrite(open_file(r, units[i].file), before[i], SPOOL_UNIT,
                          (off_t)units[i].off) == SPOOL_UNIT);
}

static bool
by_mask(struct replay *r, unsigned i, uint64_t mask)
{
    (void)r;
    return mask >> i & 1;
}

static bool
by_chance(struct replay *r, unsigned i, uint64_t mask)
{
    (void)i, (void)mask;
    return next_random(r) >> 40 & 1;
}

static void
at_barrier(struct replay *r, uint64_t offset, uint64_t share)
{
    static struct unit units[UNITS_MAX];
    unsigned n = gather(r, units);
    r->barriers++;
    if (n <= UNITS_EXHAUSTIVE && (1ull << n) <= share * 8) {
        r->exhaustive++;
        for (uint64_t mask = 0; mask < 1ull << n; mask++)
            try_subset(r, units, n, offset, by_mask, mask);
        return;
    }
    for (uint64_t i = 0; i < share && r->spent < r->samples; i++, r->spent++)
        try_subset(r, units, n, offset, by_chance, 0);
}

static void
take_write(struct replay *r, unsigned f, const struct head *h, const uint8_t *data)
{
    for (uint64_t at = 0; at + SPOOL_UNIT <= h->n; at += SPOOL_UNIT) {
        struct unit u = {f, h->off + at, data + at};
        /* Pre-writing fills a file with zeros before it is used: taken as done, not as choices. */
        if (r->files[f].npending == UNITS_MAX)
            put(r, &r->files[f].pending[--r->files[f].npending]);
        r->files[f].pending[r->files[f].npending++] = u;
    }
}

static bool
is_zeros(const uint8_t *p, uint64_t n)
{
    return !n || (!p[0] && !memcmp(p, p + 1, n - 1));
}

static void
settle(struct replay *r, unsigned f)
{
    for (unsigned i = 0; i < r->files[f].npending; i++)
        put(r, &r->files[f].pending[i]);
    r->files[f].npending = 0;
}

static uint64_t
count_syncs(const struct replay *r)
{
    uint64_t n = 0;
    for (uint64_t at = 0; at + sizeof(struct head) <= r->size;) {
        const struct head *h = (const void *)(r->trace + at);
        n += h->kind == 2;
        at += sizeof *h + h->n;
    }
    return n;
}

static void
run(struct replay *r)
{
    uint64_t syncs = count_syncs(r), share = MAX(r->samples / MAX(syncs, 1ull), 1ull);
    for (uint64_t at = 0; at + sizeof(struct head) <= r->size;) {
        struct head h;
        memcpy(&h, r->trace + at, sizeof h);
        const uint8_t *data = r->trace + at + sizeof h;
        if (at + sizeof h + h.n > r->size)
            break;
        unsigned f = file_of(r, h.file);
        at += sizeof h + h.n;
        if (f == FILES_MAX)
            continue; /* unlinked before the end: it held nothing that was accepted */
        if (h.kind == 1 && is_zeros(data, h.n)) {
            /* nothing to choose: a new file's holes read as zeros as well */
        } else if (h.kind == 1) {
            take_write(r, f, &h, data);
        } else if (h.kind == 2) {
            at_barrier(r, at - sizeof h, share);
            settle(r, f);
        }
    }
    at_barrier(r, r->size, share);
}

int
main(int argc, char **argv)
{
    static struct replay r;
    char seg[4200];
    if (argc < 5) {
        fprintf(stderr, "usage: spool_replay TRACE NAMES ACKS WORKDIR [SAMPLES] [SEED]\n");
        return 2;
    }
    r.trace = map_file(argv[1], &r.size);
    read_names(&r, argv[2]);
    read_acks(&r, argv[3]);
    str_copy(str_c(argv[4]), r.dir, sizeof r.dir);
    str_fmt(seg, sizeof seg, "%s/seg", r.dir);
    mkdir(r.dir, 0700);
    mkdir(seg, 0700);
    r.samples = argc > 5 ? strtoull(argv[5], NULL, 10) : 10000;
    r.random = argc > 6 ? strtoull(argv[6], NULL, 10) : 88172645463325252ull;
    printf("# seed %llu\n", (unsigned long long)r.random);
    run(&r);
    printf("# %llu barriers (%llu exhaustive), %llu states, %zu acknowledged\n",
           (unsigned long long)r.barriers, (unsigned long long)r.exhaustive,
           (unsigned long long)r.states, r.nacks);
    OK(r.nacks > 0 && r.states > 100, "there was something to judge");
    IS(r.bad, 0, "every state holds what was acknowledged by then");
    return tap_done();
}
