/*
 * tests/unit/test_spool_recorder.c - the crash recorder: what power loss may leave, read back.
 *
 * A writer works on a disk in memory that logs every write, sync and done(). Then the log is
 * replayed: before each sync takes effect, any subset of the 4 KiB units written and not yet synced
 * may be on the disk. All subsets are tried up to 12 units, else seeded samples; each is read as a
 * start would read it. SPOOL_SAMPLES (default 10000) bounds the samples of all larger barriers
 * together, SPOOL_SEED repeats a run.
 */
#include "core/clock.h"
#include "spool/writer_inner.h"
#include "spool_rig.h"

#define UNITS_EXHAUSTIVE 12u
#define UNITS_MAX        128u
#define SEGMENT          (24u * SPOOL_UNIT)
#define LIVES            9u

struct pending { /* a unit written and not synced */
    unsigned file;
    uint64_t off;
    const uint8_t *data;
};

struct recorder {
    struct twin twin;
    struct rig rigs[LIVES];
    struct finding finding;
    struct pending pending[UNITS_MAX];
    unsigned npending;
    uint8_t *base[TWIN_FILES]; /* synced so far, in the replay */
    size_t at;                 /* op of the barrier */
    uint64_t random, samples_each;
    unsigned long states, barriers, exhaustive, failures;
};

/* Offers the notes of one wave as one queue: the committer is told when all are in. */
static void
wave(struct rig *r, const unsigned (*sizes)[2], unsigned n)
{
    ENSURE(rig_ready(r));
    r->writer->polling = true;
    for (unsigned i = 0; i < n; i++) {
        struct note *note = rig_note(r, sizes[i][0], sizes[i][1]);
        int err = spool_writer_add(r->writer, &note->out);
        if (err < 0) {
            note->done = true;
            note->status = err;
            note->done_at = r->twin->nops;
        }
    }
    r->writer->polling = false;
    ENSURE(rig_settle(r));
}

static void
life(struct recorder *rec, unsigned which, uint32_t epoch, unsigned first_file, long fail_in,
     long fail_more)
{
    static const unsigned small[][2] = {{40, 0}};
    static const unsigned three[][2] = {{60, 900}, {300, 3000}, {17, 0}};
    static const unsigned body[][2] = {{120, 10240}};
    static const unsigned spread[][2] = {{100, 4096}, {200, 8192}, {77, 5000}, {90, 3333}};
    static const unsigned many[][2] = {{100, 10240}, {110, 10241}, {120, 10239}, {130, 12288},
                                       {140, 7000},  {150, 1},     {160, 20000}};
    static const unsigned wide[][2] = {{2500, 0}, {2600, 0}};
    static const struct {
        const unsigned (*sizes)[2];
        unsigned n;
    } waves[] = {{small, 1}, {three, 3}, {wide, 2}, {body, 1}, {many, 7},  {small, 1}, {spread, 4},
                 {three, 3}, {body, 1},  {many, 7}, {body, 1}, {three, 3}, {small, 1}};
    struct rig *r = &rec->rigs[which];

    rig_init(r, &rec->twin, epoch, SEGMENT, 20 * SPOOL_UNIT);
    r->first_file = first_file;
    ENSURE(rig_ready(r));
    pthread_mutex_lock(&rec->twin.lock);
    rec->twin.fail_at = fail_in < 0 ? -1 : rec->twin.calls + fail_in;
    rec->twin.fail_more = fail_more;
    pthread_mutex_unlock(&rec->twin.lock);
    for (unsigned i = 0; i < ARRAY_LEN(waves); i++)
        wave(r, waves[i].sizes, waves[i].n);
    rig_done(r);
    pthread_mutex_lock(&rec->twin.lock);
    rec->twin.fail_at = -1;
    pthread_mutex_unlock(&rec->twin.lock);
}

static struct note *
note_of(struct recorder *rec, uint32_t epoch, uint64_t seq)
{
    for (unsigned l = 0; l < LIVES; l++) {
        struct rig *r = &rec->rigs[l];
        if (r->epoch != epoch)
            continue;
        for (unsigned i = 0; i < r->nnotes; i++) {
            if (r->notes[i]->seq == seq)
                return r->notes[i];
        }
    }
    return NULL;
}

/* A refused id must be gone once anything later of its epoch was acknowledged before `at`. */
static bool
void_was_durable(const struct rig *r, const struct note *n, size_t at)
{
    for (unsigned i = 0; i < r->nnotes; i++) {
        const struct note *o = r->notes[i];
        if (o->done && o->status == 0 && o->done_at < at && o->done_at > n->done_at)
            return true;
    }
    return false;
}

static const char *
state_wrong(struct recorder *rec)
{
    struct finding *f = &rec->finding;

    if (finding_read(f, &rec->twin) < 0)
        return "recovery failed";
    if (f->damages > 0)
        return "damage told where there is none";
    for (size_t i = 0; i < f->n; i++) {
        struct note *n = note_of(rec, f->items[i].segment.epoch, f->items[i].record.seq);
        if (f->items[i].voided)
            continue;
        if (!n)
            return "a record that was never offered";
        if (!found_equals(&rec->twin, &f->items[i], n))
            return "a record with other bytes than offered";
        for (size_t k = 0; k < i; k++) {
            if (f->items[k].record.seq == n->seq && f->items[k].segment.epoch == n->epoch)
                return "a record twice";
        }
    }
    for (unsigned l = 0; l < LIVES; l++) {
        struct rig *r = &rec->rigs[l];
        for (unsigned i = 0; i < r->nnotes; i++) {
            struct note *n = r->notes[i];
            struct found *got = finding_get(f, n->epoch, n->seq);
            if (!n->done || n->done_at >= rec->at)
                continue;
            if (n->status == 0 && !(n->gone && n->gone_at < rec->at) && (!got || got->voided))
                return "an acknowledged record is lost";
            if (n->status < 0 && got && !got->voided && void_was_durable(r, n, rec->at))
                return "a refused record is back";
        }
    }
    return NULL;
}

static void
unit_set(struct recorder *rec, unsigned i, bool persisted)
{
    struct pending *p = &rec->pending[i];
    struct twin_file *f = &rec->twin.files[p->file];

    memcpy(f->image + p->off, persisted ? p->data : rec->base[p->file] + p->off, SPOOL_UNIT);
}

/* One crash: those units are there, the others are not. */
static void
try_state(struct recorder *rec, const bool *there)
{
    const char *wrong;

    for (unsigned i = 0; i < rec->npending; i++)
        unit_set(rec, i, false);
    for (unsigned i = 0; i < rec->npending; i++) {
        if (there[i])
            unit_set(rec, i, true);
    }
    rec->states++;
    wrong = state_wrong(rec);
    if (!wrong || ++rec->failures > 10)
        return;
    printf("# op %zu, units ", rec->at);
    for (unsigned i = 0; i < rec->npending; i++)
        printf("%c", there[i] ? '1' : '0');
    printf(": %s\n", wrong);
}

static void
barrier(struct recorder *rec)
{
    bool there[UNITS_MAX] = {false};

    rec->barriers++;
    if (rec->npending <= UNITS_EXHAUSTIVE) {
        rec->exhaustive++;
        for (unsigned long bits = 0; bits < 1ul << rec->npending; bits++) {
            for (unsigned i = 0; i < rec->npending; i++)
                there[i] = bits >> i & 1;
            try_state(rec, there);
        }
        return;
    }
    try_state(rec, there); /* none, all, then each missing, then samples of all densities */
    memset(there, true, sizeof there);
    try_state(rec, there);
    for (unsigned i = 0; i < rec->npending; i++) {
        there[i] = false;
        try_state(rec, there);
        there[i] = true;
    }
    for (uint64_t n = 0; n < rec->samples_each; n++) {
        uint64_t density = twin_random(&rec->random) % 15 + 1;
        for (unsigned i = 0; i < rec->npending; i++)
            there[i] = twin_random(&rec->random) % 16 < density;
        try_state(rec, there);
    }
}

static void
replay_write(struct recorder *rec, const struct twin_op *op)
{
    for (uint64_t at = 0; at < op->n; at += SPOOL_UNIT) {
        ENSURE(rec->npending < UNITS_MAX);
        rec->pending[rec->npending++] = (struct pending){op->file, op->off + at, op->data + at};
    }
}

static void
replay_sync(struct recorder *rec, const struct twin_op *op)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < rec->npending; i++) {
        struct pending *p = &rec->pending[i];
        if (p->file != op->file) {
            rec->pending[kept++] = *p;
            continue;
        }
        memcpy(rec->base[p->file] + p->off, p->data, SPOOL_UNIT);
        memcpy(rec->twin.files[p->file].image + p->off, p->data, SPOOL_UNIT);
    }
    rec->npending = kept;
}

/* Who is recycled by each header write: those notes need not be found any more. */
static void
mark_recycled(struct recorder *rec)
{
    for (size_t i = 0; i < rec->twin.nops; i++) {
        const struct twin_op *op = &rec->twin.ops[i];
        if (op->kind != TWIN_WRITE || op->off != 0)
            continue;
        for (unsigned l = 0; l < LIVES; l++) {
            for (unsigned k = 0; k < rec->rigs[l].nnotes; k++) {
                struct note *n = rec->rigs[l].notes[k];
                if (n->status == 0 && n->done && n->done_at < i && !n->gone &&
                    n->out.loc.segment == rec->twin.files[op->file].number) {
                    n->gone = true;
                    n->gone_at = i;
                }
            }
        }
    }
}

/* Failed segments are never synced: what was written to them stays undecided. To bound the
 * subsets it is settled by lot when the next epoch begins, a crash in between. */
static void
settle_failed(struct recorder *rec)
{
    for (unsigned i = 0; i < rec->npending; i++) {
        bool there = twin_random(&rec->random) & 1;
        unit_set(rec, i, there);
        if (there)
            memcpy(rec->base[rec->pending[i].file] + rec->pending[i].off, rec->pending[i].data,
                   SPOOL_UNIT);
    }
    rec->npending = 0;
}

static void
replay(struct recorder *rec, const size_t *life_ends, unsigned nlives)
{
    unsigned l = 0;

    for (size_t i = 0; i < rec->twin.nops; i++) {
        const struct twin_op *op = &rec->twin.ops[i];
        rec->at = i;
        while (l < nlives && i >= life_ends[l]) {
            barrier(rec);
            settle_failed(rec);
            l++;
        }
        if (op->kind == TWIN_WRITE)
            replay_write(rec, op);
        if (op->kind == TWIN_SYNC) {
            barrier(rec);
            if (!op->failed)
                replay_sync(rec, op);
        }
    }
    rec->at = rec->twin.nops;
    barrier(rec);
}

static uint64_t
number_env(const char *name, uint64_t preset)
{
    const char *text = getenv(name);
    uint64_t n;

    return text && str_u64(str_c(text), &n) == 0 ? n : preset;
}

/* How many barriers will be sampled: counted by a replay of lengths alone. */
static uint64_t
large_barriers(const struct twin *t)
{
    uint64_t n = 0;

    for (size_t i = 0; i < t->nops; i++)
        n += t->ops[i].kind == TWIN_WRITE && t->ops[i].n > UNITS_EXHAUSTIVE * SPOOL_UNIT;
    return MAX(n, 1u);
}

int
main(void)
{
    static struct recorder rec;
    size_t ends[LIVES];
    uint64_t seed = number_env("SPOOL_SEED", clock_wall() % 1000000);
    /* first file, failing call: -1 none; lives share files, so that old content lies around */
    static const struct {
        unsigned first;
        long fail, more; /* and so many calls behind it */
    } plan[LIVES] = {{0, -1, 0}, {0, -1, 0}, {2, 5, 0}, {0, 10, 0}, {1, 13, 0},
                     {3, -1, 0}, {0, 14, 0}, {4, 0, 0}, {1, 7, 2}};

    twin_init(&rec.twin);
    rec.twin.logging = true;
    rec.random = seed;
    printf("# SPOOL_SEED=%llu\n", (unsigned long long)seed);
    for (unsigned l = 0; l < LIVES; l++) {
        life(&rec, l, l + 1, plan[l].first, plan[l].fail, plan[l].more);
        ends[l] = rec.twin.nops;
    }
    mark_recycled(&rec);
    for (unsigned i = 0; i < rec.twin.nfiles; i++) {
        rec.base[i] = calloc(1, rec.twin.files[i].size);
        rec.twin.files[i].image = calloc(1, rec.twin.files[i].size);
        ENSURE(rec.base[i] && rec.twin.files[i].image);
    }
    rec.samples_each = number_env("SPOOL_SAMPLES", 10000) / large_barriers(&rec.twin);
    replay(&rec, ends, LIVES);
    printf("# %u files, %zu operations, %lu barriers (%lu exhaustive), %lu crashes\n",
           rec.twin.nfiles, rec.twin.nops, rec.barriers, rec.exhaustive, rec.states);
    IS(rec.failures, 0, "every crash leaves what was promised");
    OK(rec.exhaustive > 50, "most barriers were tried with all subsets");
    for (unsigned l = 0; l < LIVES; l++)
        IS(rec.rigs[l].nfailed, plan[l].fail < 0 ? 0 : 1 + plan[l].more,
           "life %u: failures as planned", l + 1);
    for (unsigned i = 0; i < rec.twin.nfiles; i++) {
        free(rec.base[i]);
        free(rec.twin.files[i].image);
    }
    for (unsigned l = 0; l < LIVES; l++)
        rig_free_notes(&rec.rigs[l]);
    free(rec.finding.items);
    twin_done(&rec.twin);
    return tap_done();
}
