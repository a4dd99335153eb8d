/*
 * courier/index.c - rows, lanes and destinations of the index.
 *
 * Called by intake, plan and outcome. Never reads the log, never looks at a clock, never fails for
 * want of memory once a row is in: states change by links alone.
 */
#include "courier/index.h"

#include "courier/index_inner.h"

#define INDEX_MAX_DESTS 20000000u

void
index_init(struct index *ix, uint32_t max_rows, uint32_t now_tick)
{
    *ix = (struct index){0};
    slab_init(&ix->messages, sizeof(struct index_message), max_rows);
    slab_init(&ix->rows, sizeof(struct index_row), MIN(max_rows, WHEEL_HEAD - 1));
    slab_init(&ix->dests, sizeof(struct index_dest), INDEX_MAX_DESTS);
    slab_init(&ix->lanes, sizeof(struct index_lane), WHEEL_HEAD - 1);
    map_init(&ix->dest_names, INDEX_MAX_DESTS, false);
    wheel_init(&ix->wheel, now_tick);
}

void
index_done(struct index *ix)
{
    size_t at = 0;
    struct str key;
    void *value;

    while ((value = map_next(&ix->dest_names, &at, &key)) != NULL) {
        struct index_dest *d = index_dest(ix, (uint32_t)(uintptr_t)value - 1);
        free(d->key);
        free(d->why);
    }
    map_done(&ix->dest_names);
    index_find_done(ix);
    slab_done(&ix->messages);
    slab_done(&ix->rows);
    slab_done(&ix->dests);
    slab_done(&ix->lanes);
}

size_t
index_memory(const struct index *ix)
{
    size_t n = slab_memory(&ix->messages) + slab_memory(&ix->rows) + slab_memory(&ix->dests) +
               slab_memory(&ix->lanes) + index_find_memory(ix) + sizeof *ix;
    size_t at = 0;
    struct str key;

    n += ix->dest_names.cap * (sizeof(struct str) + 2 * sizeof(uint64_t));
    while (map_next(&ix->dest_names, &at, &key))
        n += MAX((size_t)32, round_up(key.n + 1 + 8, 16)); /* malloc's own bytes as well */
    return n;
}

static struct str
dest_key(struct str domain, struct str via, char *room, size_t cap)
{
    if (domain.n + 1 + via.n >= cap)
        return STR_NONE;
    memcpy(room, domain.p, domain.n);
    if (via.n == 0)
        return str_of(room, domain.n);
    room[domain.n] = '\t';
    memcpy(room + domain.n + 1, via.p, via.n);
    return str_of(room, domain.n + 1 + via.n);
}

static uint32_t
index_dest_find(const struct index *ix, struct str domain, struct str via)
{
    char room[768];
    struct str key = via.n ? dest_key(domain, via, room, sizeof room) : domain;
    void *found = key.p ? map_get(&ix->dest_names, key) : NULL;

    return found ? (uint32_t)(uintptr_t)found - 1 : INDEX_NONE;
}

uint32_t
index_dest_get(struct index *ix, struct str domain, struct str via)
{
    char room[768];
    struct str key;
    uint32_t i = index_dest_find(ix, domain, via);
    struct index_dest *d;

    if (i != INDEX_NONE)
        return i;
    key = dest_key(domain, via, room, sizeof room);
    if (!key.p)
        return INDEX_NONE;
    i = slab_take(&ix->dests);
    if (i == INDEX_NONE)
        return i;
    d = index_dest(ix, i);
    d->key = malloc(key.n + 1);
    d->lanes = INDEX_NONE;
    if (d->key) {
        memcpy(d->key, key.p, key.n);
        d->key[key.n] = '\0';
        d->key_n = (uint16_t)key.n;
        d->domain_n = (uint16_t)domain.n;
    }
    if (!d->key ||
        map_put(&ix->dest_names, str_of(d->key, key.n), (void *)((uintptr_t)i + 1)) < 0) {
        free(d->key);
        slab_give(&ix->dests, i);
        return INDEX_NONE;
    }
    return i;
}

void
index_dest_drop(struct index *ix, uint32_t dest)
{
    struct index_dest *d = index_dest(ix, dest);

    ENSURE(d->rows == 0 && d->lanes == INDEX_NONE && !d->asking);
    map_del(&ix->dest_names, str_of(d->key, d->key_n));
    free(d->key);
    free(d->why);
    slab_give(&ix->dests, dest);
}

/* The lane of that destination, class and tenant; made if need be. */
static uint32_t
lane_get(struct index *ix, uint32_t dest, uint8_t class, uint16_t tenant)
{
    struct index_dest *d = index_dest(ix, dest);
    struct index_lane *l;
    uint32_t i;

    for (i = d->lanes; i != INDEX_NONE; i = l->next) {
        l = index_lane(ix, i);
        if (l->tenant == tenant && l->class == class)
            return i;
    }
    i = slab_take(&ix->lanes);
    if (i == INDEX_NONE)
        return i;
    l = index_lane(ix, i);
    *l = (struct index_lane){.dest = dest,
                             .head = INDEX_NONE,
                             .tail = INDEX_NONE,
                             .tenant = tenant,
                             .class = class,
                             .next = d->lanes,
                             .share_next = INDEX_NONE,
                             .share_prev = INDEX_NONE};
    d->lanes = i;
    return i;
}

static void
lane_drop(struct index *ix, uint32_t lane)
{
    struct index_lane *l = index_lane(ix, lane);
    uint32_t *at = &index_dest(ix, l->dest)->lanes;

    while (*at != lane)
        at = &index_lane(ix, *at)->next;
    *at = l->next;
    slab_give(&ix->lanes, lane);
}

static void
lane_remove(struct index *ix, uint32_t row)
{
    struct index_row *r = index_row(ix, row);
    uint32_t lane = r->due;
    struct index_lane *l = index_lane(ix, lane);

    if (r->prev == INDEX_NONE)
        l->head = r->next;
    else
        index_row(ix, r->prev)->next = r->next;
    if (r->next == INDEX_NONE)
        l->tail = r->prev;
    else
        index_row(ix, r->next)->prev = r->prev;
    l->n--;
    index_dest(ix, r->dest)->ready--;
    if (l->n == 0) {
        if (ix->lane_changed)
            ix->lane_changed(ix->ctx, lane, false);
        lane_drop(ix, lane);
    }
}

static void
wheel_remove(struct index *ix, uint32_t row)
{
    struct index_row *r = index_row(ix, row);

    if (r->prev & WHEEL_HEAD)
        wheel_head(&ix->wheel, r->prev & ~WHEEL_HEAD, r->next);
    else
        index_row(ix, r->prev)->next = r->next;
    if (r->next != INDEX_NONE)
        index_row(ix, r->next)->prev = r->prev;
    ix->wheel.count--;
}

static void
wheel_insert(struct index *ix, uint32_t row)
{
    struct index_row *r = index_row(ix, row);
    uint32_t slot = wheel_slot(&ix->wheel, r->due);

    r->next = ix->wheel.slots[slot];
    r->prev = WHEEL_HEAD | slot;
    if (r->next != INDEX_NONE)
        index_row(ix, r->next)->prev = row;
    wheel_head(&ix->wheel, slot, row);
    ix->wheel.count++;
}

/* Out of the list it stands in, if any. */
static void
row_leave(struct index *ix, uint32_t row)
{
    struct index_row *r = index_row(ix, row);

    if (r->state == ROW_READY)
        lane_remove(ix, row);
    else if (r->state == ROW_WAITING)
        wheel_remove(ix, row);
    r->next = r->prev = INDEX_NONE;
    ix->count[r->state]--;
}

static void
row_enter(struct index *ix, struct index_row *r, enum row_state state)
{
    r->state = state & 7u;
    ix->count[state]++;
}

uint32_t
index_row_add(struct index *ix, uint32_t message, uint32_t ordinal, uint32_t dest, uint32_t hint)
{
    uint32_t i = slab_take(&ix->rows);
    struct index_message *m = index_message(ix, message);
    struct index_row *r;

    if (i == INDEX_NONE)
        return i;
    r = index_row(ix, i);
    *r = (struct index_row){.message = message,
                            .ordinal = ordinal,
                            .dest = dest,
                            .next = INDEX_NONE,
                            .prev = INDEX_NONE,
                            .sibling = INDEX_NONE};
    row_enter(ix, r, ROW_HELD);
    if (hint != INDEX_NONE) {
        r->sibling = index_row(ix, hint)->sibling;
        index_row(ix, hint)->sibling = i;
    } else {
        r->sibling = m->rows;
        m->rows = i;
    }
    m->open++;
    index_dest(ix, dest)->rows++;
    return i;
}

uint32_t
index_row_find(const struct index *ix, uint32_t message, uint32_t ordinal)
{
    const struct index_message *m = index_message(ix, message);
    const struct index_row *r;
    uint32_t guess;

    if (m->rows == INDEX_NONE)
        return INDEX_NONE;
    /* Rows of a message are mostly neighbours. */
    r = index_row(ix, m->rows);
    guess = m->rows + (ordinal - r->ordinal);
    if (ordinal >= r->ordinal && guess >= m->rows && guess < ix->rows.next) {
        r = index_row(ix, guess);
        if (r->message == message && r->ordinal == ordinal && r->state != ROW_FREE)
            return guess;
    }
    for (uint32_t i = m->rows; i != INDEX_NONE; i = r->sibling) {
        r = index_row(ix, i);
        if (r->ordinal == ordinal)
            return i;
    }
    return INDEX_NONE;
}

void
index_row_free(struct index *ix, uint32_t row)
{
    struct index_row *r = index_row(ix, row);
    struct index_message *m = index_message(ix, r->message);
    struct index_dest *d = index_dest(ix, r->dest);
    uint32_t *at = &m->rows;

    row_leave(ix, row);
    while (*at != row)
        at = &index_row(ix, *at)->sibling;
    *at = r->sibling;
    m->open--;
    d->rows--;
    d->idle_since = ix->wheel.now;
    r->state = ROW_FREE;
    r->message = INDEX_NONE; /* slab_give keeps only the first four bytes for itself */
    slab_give(&ix->rows, row);
}

static void
ready_at(struct index *ix, uint32_t row, bool first)
{
    struct index_row *r = index_row(ix, row);
    const struct index_message *m = index_message(ix, r->message);
    struct index_lane *l;
    uint32_t lane;

    row_leave(ix, row);
    lane = lane_get(ix, r->dest, m->rank, m->tenant);
    if (lane == INDEX_NONE) { /* no memory for a lane: a second later there may be */
        r->due = ix->wheel.now + 15;
        row_enter(ix, r, ROW_WAITING);
        wheel_insert(ix, row);
        return;
    }
    l = index_lane(ix, lane);
    if (first) {
        r->next = l->head;
        if (l->head != INDEX_NONE)
            index_row(ix, l->head)->prev = row;
        else
            l->tail = row;
        l->head = row;
    } else {
        r->prev = l->tail;
        if (l->tail != INDEX_NONE)
            index_row(ix, l->tail)->next = row;
        else
            l->head = row;
        l->tail = row;
    }
    l->n++;
    r->due = lane;
    index_dest(ix, r->dest)->ready++;
    row_enter(ix, r, ROW_READY);
    if (l->n == 1 && ix->lane_changed)
        ix->lane_changed(ix->ctx, lane, true);
}

void
index_ready(struct index *ix, uint32_t row)
{
    ready_at(ix, row, false);
}

void
index_ready_first(struct index *ix, uint32_t row)
{
    ready_at(ix, row, true);
}

void
index_wait(struct index *ix, uint32_t row, uint32_t due)
{
    struct index_row *r = index_row(ix, row);

    row_leave(ix, row);
    r->due = due;
    row_enter(ix, r, ROW_WAITING);
    wheel_insert(ix, row);
}

void
index_set(struct index *ix, uint32_t row, enum row_state state)
{
    row_leave(ix, row);
    row_enter(ix, index_row(ix, row), state);
}

uint32_t
index_due(struct index *ix, uint32_t now_tick)
{
    for (;;) {
        bool cascade = false;
        uint32_t slot = wheel_step(&ix->wheel, now_tick, &cascade);
        uint32_t row, next;
        if (slot == SLAB_NONE)
            return INDEX_NONE;
        row = ix->wheel.slots[slot];
        if (!cascade) {
            index_set(ix, row, ROW_HELD);
            return row;
        }
        wheel_head(&ix->wheel, slot, SLAB_NONE);
        for (; row != INDEX_NONE; row = next) {
            next = index_row(ix, row)->next;
            ix->wheel.count--;
            wheel_insert(ix, row);
        }
    }
}
