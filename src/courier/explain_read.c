/*
 * courier/explain_read.c - the thread behind explain: reads the whole log for records of a message.
 *
 * run() is in the thread: it touches its job alone, and reads directories of segments, not bodies.
 * Segments that are recycled meanwhile are read as what they are then; the readers check that.
 */
#include "courier/explain.h"
#include "courier/letter.h"
#include "spool/reader.h"
#include "spool/record.h"

#define THREADS     2u
#define WAITING     64u
#define RECORDS_MAX 20000u      /* of one message */
#define BYTES_MAX   (64u << 20) /* of one job */

static int
id_number(const struct explain_read *r, const struct spool_id *id)
{
    for (size_t i = 0; i < r->nids; i++) {
        if (spool_id_eq(&r->ids[i], id))
            return (int)i;
    }
    return -1;
}

/* The message itself stands first, also when its epoch is younger than that of our notes. */
static void
list_add(struct explain_list *list, struct explain_found *f)
{
    bool first = f->record.type == SPOOL_MESSAGE;

    if (f->record.type == SPOOL_COPY) {
        first = true;
        for (size_t i = 0; first && i < list->n; i++)
            first = list->items[i]->record.type != SPOOL_MESSAGE &&
                    list->items[i]->record.type != SPOOL_COPY;
    }
    if (first)
        memmove(list->items + 1, list->items, list->n * sizeof(void *));
    list->items[first ? 0 : list->n] = f;
    list->n++;
}

static int
keep(struct explain_read *r, size_t id, const struct spool_place *place,
     const struct spool_record *record)
{
    struct explain_list *list = &r->lists[id];
    struct explain_found *f;

    if (list->n >= RECORDS_MAX || r->bytes + record->payload.n > BYTES_MAX) {
        r->cut = true;
        return 0;
    }
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 16;
        struct explain_found **grown = reallocarray(list->items, cap, sizeof(void *));
        if (!grown)
            return ERR_NOMEM;
        list->items = grown;
        list->cap = cap;
    }
    f = malloc(sizeof *f + record->payload.n + 1);
    if (!f)
        return ERR_NOMEM;
    f->record = *record;
    f->record.payload = str_of((char *)(f + 1), record->payload.n);
    memcpy(f + 1, record->payload.p ? record->payload.p : "", record->payload.n);
    f->node = place->segment->node;
    f->epoch = place->segment->epoch;
    r->bytes += record->payload.n;
    list_add(list, f);
    return 0;
}

/* A purge speaks of all messages of an epoch below its ceiling. */
static int
gather_purge(struct explain_read *r, const struct spool_place *place,
             const struct spool_record *record)
{
    struct spool_scope s;
    int err = 0;

    if (spool_scope_decode(record, &s) < 0 || s.verb != SPOOL_PURGE)
        return 0;
    for (size_t i = 0; i < r->nids && err == 0; i++) {
        if (r->ids[i].epoch == s.ceiling.epoch && r->ids[i].seq < s.ceiling.seq)
            err = keep(r, i, place, record);
    }
    return err;
}

static int
gather_record(void *ctx, const struct spool_place *place, const struct spool_record *record)
{
    struct explain_read *r = ctx;
    struct spool_outcome o;
    struct spool_intent in;
    struct letter l = {0};
    int id = -1;

    if (atomic_load(&r->stop))
        return ERR_CLOSED;
    switch (record->type) {
    case SPOOL_MESSAGE:
        id = id_number(
            r, &(struct spool_id){place->segment->node, place->segment->epoch, record->seq});
        break;
    case SPOOL_COPY:
        if (letter_decode(&l, record, place->segment->node, place->segment->epoch) == 0)
            id = id_number(r, &l.env.id);
        break;
    case SPOOL_SCOPE:
        return gather_purge(r, place, record);
    case SPOOL_INTENT:
        if (spool_intent_decode(record, &in) == 0)
            id = id_number(r, &in.id);
        break;
    case SPOOL_OUTCOME:
        if (spool_outcome_decode(record, &o) == 0)
            id = id_number(r, &o.id);
        break;
    default:
        break;
    }
    return id < 0 ? 0 : keep(r, (size_t)id, place, record);
}

/* As the header has it, with < > or, as people paste it, without. */
static bool
has_message_id(struct str have, struct str want)
{
    return str_eq(have, want) ||
           (have.n == want.n + 2 && have.p[0] == '<' && str_eq(str_sub(have, 1, want.n), want));
}

/* Ids of messages that name the address or have that Message-ID; the newest are kept. */
static int
find_record(void *ctx, const struct spool_place *place, const struct spool_record *record)
{
    struct explain_read *r = ctx;
    struct letter_walk w = {0};
    struct letter l = {0};
    struct spool_rcpt rcpt;
    uint32_t ordinal;
    bool hit;

    if (atomic_load(&r->stop))
        return ERR_CLOSED;
    if (record->type != SPOOL_MESSAGE && record->type != SPOOL_COPY)
        return 0;
    if (letter_decode(&l, record, place->segment->node, place->segment->epoch) < 0)
        return 0;
    hit = str_ieq(l.env.sender, r->address) || has_message_id(l.env.message_id, r->address);
    while (!hit && letter_next(&l, &w, &ordinal, &rcpt) == 1)
        hit = str_ieq(rcpt.address, r->address);
    if (!hit || id_number(r, &l.env.id) >= 0)
        return 0;
    if (r->nids == EXPLAIN_IDS) {
        memmove(r->ids, r->ids + 1, --r->nids * sizeof r->ids[0]);
        r->older = true;
    }
    r->ids[r->nids++] = l.env.id;
    return 0;
}

static int
each_record(struct explain_read *r,
            int (*fn)(void *, const struct spool_place *, const struct spool_record *))
{
    const struct spool_reader_ops ops = {.record = fn};
    struct spool_listing all = {0};
    int err = spool_list(r->dir, NULL, &all, NULL);
    size_t n;

    for (size_t at = 0; err == 0 && at < all.n; at += n) {
        for (n = 1; at + n < all.n && all.items[at + n].epoch == all.items[at].epoch; n++)
            ;
        err = spool_epoch_read(r->dir, all.items + at, n, NULL, &ops, r);
        if (spool_is_disk_error(err)) {
            r->unread = err;
            err = 0;
        }
    }
    if (err == 0 && all.nunread > 0)
        r->unread = all.unread[0].err;
    spool_listing_done(&all);
    return err;
}

static void
run(struct worker_job *job, void *state UNUSED)
{
    struct explain_read *r = (struct explain_read *)job;

    if (r->address.p)
        r->err = each_record(r, find_record);
    if (r->err == 0 && r->nids > 0)
        r->err = each_record(r, gather_record);
}

static void
read_free(struct explain_read *r)
{
    for (size_t i = 0; i < EXPLAIN_IDS; i++) {
        for (size_t k = 0; k < r->lists[i].n; k++)
            free(r->lists[i].items[k]);
        free(r->lists[i].items);
    }
    free((char *)(uintptr_t)r->address.p);
    free(r->dir);
    free(r);
}

static void
on_done(struct worker_job *job)
{
    struct explain_read *r = (struct explain_read *)job;
    void (*ready)(void *) = r->ready;

    r->ready = NULL;
    if (ready)
        ready(r->ctx);
    else
        read_free(r);
}

static void
on_drop(struct worker_job *job)
{
    read_free((struct explain_read *)job); /* controls_free() has let go of all */
}

int
explain_read_start(struct explain_read **ret, struct courier *c, struct str address,
                   const struct spool_id *id, void (*ready)(void *ctx), void *ctx)
{
    struct explain_read *r = calloc(1, sizeof *r);
    int err = r ? 0 : ERR_NOMEM;

    if (err == 0 && !c->readers)
        err = worker_create(&c->readers, c->loop, THREADS, WAITING, NULL);
    if (err == 0) {
        r->dir = strdup(c->links.spool_dir);
        r->ready = ready;
        r->ctx = ctx;
        r->job = (struct worker_job){.run = run, .done = on_done};
        if (address.n)
            r->address = str_of(str_dup(address), address.n);
        else
            r->ids[r->nids++] = *id;
        err = !r->dir || (address.n && !r->address.p) ? ERR_NOMEM : 0;
    }
    if (err == 0)
        err = worker_submit(c->readers, &r->job);
    if (err < 0) {
        if (r)
            read_free(r);
        return err;
    }
    *ret = r;
    return 0;
}

void
explain_read_drop(struct explain_read *r)
{
    if (!r)
        return;
    atomic_store(&r->stop, true);
    if (r->ready)
        r->ready = NULL; /* the thread has it: freed at its end */
    else
        read_free(r);
}

void
explain_readers_free(struct courier *c)
{
    worker_free(c->readers, on_drop);
    c->readers = NULL;
}
