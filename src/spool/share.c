/*
 * spool/share.c - the writer's shared page, its table of segments and the mirrored ring.
 *
 * The writer's role makes it and hands both descriptors to readers. The other side is another
 * process that may be anybody by now: the size is sealed at birth, so that no mapping can be cut
 * from under us, and every number read here is checked before it becomes an index.
 */
#include "spool/share.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/err.h"

#define SHARE_MAGIC UINT64_C(0x3168737261706167) /* "gaparsh1" */
#define SHARE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define RING_MIN    (UINT64_C(1) << 20)
#define RING_MAX    (UINT64_C(1) << 36)

static size_t
page_bytes(void)
{
    return round_up(sizeof(struct spool_share_page), SPOOL_UNIT);
}

/* Maps page and ring of s->fd; the ring twice in a row, so that no batch is ever split. */
static int
share_map(struct spool_share *s, uint64_t ring_size)
{
    uint8_t *room;
    void *page;
    off_t at = (off_t)page_bytes();

    page = mmap(NULL, page_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
    if (page == MAP_FAILED)
        return -errno;
    s->page = page;
    room = mmap(NULL, 2 * ring_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return -errno;
    s->ring = room;
    s->ring_size = ring_size;
    for (int half = 0; half < 2; half++) {
        int prot = s->writer ? PROT_READ | PROT_WRITE : PROT_READ;
        void *want = room + (size_t)half * ring_size;
        if (mmap(want, ring_size, prot, MAP_SHARED | MAP_FIXED, s->fd, at) == MAP_FAILED)
            return -errno;
    }
    return 0;
}

static bool
ring_size_is_sane(uint64_t n)
{
    return n >= RING_MIN && n <= RING_MAX && (n & (n - 1)) == 0;
}

int
spool_share_create(struct spool_share *s, uint32_t node, uint16_t stream, uint32_t epoch,
                   size_t ring_size)
{
    int err;

    *s = (struct spool_share){.fd = -1, .wake_fd = -1, .writer = true};
    if (!ring_size_is_sane(ring_size))
        return ERR_LIMIT;
    s->fd = memfd_create("gapura-spool", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->fd < 0 || s->wake_fd < 0 || ftruncate(s->fd, (off_t)(page_bytes() + ring_size)) < 0 ||
        fcntl(s->fd, F_ADD_SEALS, SHARE_SEALS) < 0) {
        err = -errno;
        spool_share_done(s);
        return err;
    }
    err = share_map(s, ring_size);
    if (err < 0) {
        spool_share_done(s);
        return err;
    }
    s->page->node = node;
    s->page->epoch = epoch;
    s->page->stream = stream;
    s->page->ring_size = ring_size;
    s->page->magic = SHARE_MAGIC;
    s->node = node;
    s->epoch = epoch;
    s->stream = stream;
    return 0;
}

int
spool_share_attach(struct spool_share *s, int fd, int wake_fd)
{
    struct stat st;
    uint64_t ring_size;
    int seals, err;

    *s = (struct spool_share){.fd = fd, .wake_fd = wake_fd};
    seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &st) < 0 ||
        (uint64_t)st.st_size < page_bytes() + RING_MIN) {
        spool_share_done(s);
        return ERR_CORRUPT;
    }
    ring_size = (uint64_t)st.st_size - page_bytes();
    err = ring_size_is_sane(ring_size) ? share_map(s, ring_size) : ERR_CORRUPT;
    if (err == 0 && (s->page->magic != SHARE_MAGIC || s->page->ring_size != ring_size))
        err = ERR_CORRUPT;
    if (err < 0) {
        spool_share_done(s);
        return err;
    }
    s->node = s->page->node;
    s->epoch = s->page->epoch;
    s->stream = s->page->stream;
    return 0;
}

void
spool_share_done(struct spool_share *s)
{
    if (s->ring)
        munmap(s->ring, 2 * s->ring_size);
    if (s->page)
        munmap(s->page, page_bytes());
    fd_close(&s->fd);
    fd_close(&s->wake_fd);
    s->ring = NULL;
    s->page = NULL;
}

void
spool_share_enter(struct spool_share *s, uint64_t start, const struct spool_segment *segment)
{
    uint64_t n = atomic_load(&s->page->nsegments);
    struct spool_share_segment *e = &s->page->segments[n % SPOOL_SHARE_SEGMENTS];

    atomic_store(&e->start, start);
    atomic_store(&e->number, segment->number);
    atomic_store(&e->generation, segment->generation);
    atomic_store(&e->seq, segment->seq);
    atomic_store(&e->size, segment->size);
    atomic_store(&s->page->nsegments, n + 1);
}

void
spool_share_claim(struct spool_share *s, uint64_t pos, size_t n)
{
    uint64_t end = pos + n;
    uint64_t low = atomic_load_explicit(&s->page->low, memory_order_relaxed);

    /* An exchange, for its acquire half: no byte of the ring may be written before `low` is. */
    if (end > s->ring_size && end - s->ring_size > low)
        atomic_exchange(&s->page->low, end - s->ring_size);
}

static void
share_wake(struct spool_share *s)
{
    uint64_t one = 1;

    if (atomic_exchange(&s->page->asleep, 0) == 1) {
        ssize_t put = write(s->wake_fd, &one, sizeof one);
        (void)put; /* full counter: the reader is awake already */
    }
}

void
spool_share_publish(struct spool_share *s, uint64_t end)
{
    atomic_store(&s->page->durable, end); /* before `asleep` is looked at: see spool_tail_sleep */
    share_wake(s);
}

void
spool_share_close(struct spool_share *s)
{
    atomic_store(&s->page->closed, 1);
    share_wake(s);
}

int
spool_share_copy(const struct spool_share *s, uint64_t pos, void *dst, size_t n)
{
    uint64_t durable = atomic_load(&s->page->durable);

    if (n > s->ring_size || pos > durable || n > durable - pos)
        return ERR_STATE;
    if (atomic_load(&s->page->low) > pos)
        return ERR_STALE;
    memcpy(dst, s->ring + (pos & (s->ring_size - 1)), n);
    atomic_thread_fence(memory_order_acquire);
    return atomic_load(&s->page->low) > pos ? ERR_STALE : 0;
}

static struct spool_segment
entry_segment(const struct spool_share *s, const struct spool_share_segment *e)
{
    return (struct spool_segment){
        .number = atomic_load(&e->number),
        .generation = atomic_load(&e->generation),
        .seq = atomic_load(&e->seq),
        .size = atomic_load(&e->size),
        .node = s->node,
        .epoch = s->epoch,
        .stream = s->stream,
        .version = SPOOL_VERSION,
        .state = SPOOL_SEGMENT_USED,
    };
}

static bool
same_segment(const struct spool_segment *a, const struct spool_segment *b)
{
    return a->number == b->number && a->generation == b->generation;
}

void
spool_share_between(const struct spool_share *s, const struct spool_segment *after,
                    const struct spool_segment *before,
                    void (*fn)(void *ctx, const struct spool_segment *), void *ctx)
{
    const struct spool_share_page *page = s->page;
    uint64_t n = atomic_load(&page->nsegments);
    uint64_t oldest = n > SPOOL_SHARE_SEGMENTS ? n - SPOOL_SHARE_SEGMENTS : 0;
    bool found = false;

    for (uint64_t i = n; i-- > oldest;) {
        struct spool_segment it = entry_segment(s, &page->segments[i % SPOOL_SHARE_SEGMENTS]);

        if (atomic_load(&page->nsegments) >= i + SPOOL_SHARE_SEGMENTS)
            return; /* overwritten meanwhile, see below */
        if (after && same_segment(&it, after))
            return;
        if (found)
            fn(ctx, &it);
        found = found || same_segment(&it, before);
    }
}

int
spool_share_segment_at(const struct spool_share *s, uint64_t pos, struct spool_segment *ret,
                       uint64_t *ret_start)
{
    const struct spool_share_page *page = s->page;
    uint64_t n = atomic_load(&page->nsegments);
    uint64_t oldest = n > SPOOL_SHARE_SEGMENTS ? n - SPOOL_SHARE_SEGMENTS : 0;

    for (uint64_t i = n; i-- > oldest;) {
        const struct spool_share_segment *e = &page->segments[i % SPOOL_SHARE_SEGMENTS];
        uint64_t start = atomic_load(&e->start);
        if (start > pos)
            continue;
        *ret = entry_segment(s, e);
        /* Overwritten while we read it? The entry belongs to i as long as no i + SEGMENTS began;
         * the writer fills an entry before it counts it, hence one less. */
        if (atomic_load(&page->nsegments) >= i + SPOOL_SHARE_SEGMENTS)
            return ERR_STALE;
        if (pos - start >= ret->size - SPOOL_UNIT || ret->size < 2 * SPOOL_UNIT)
            return ERR_CORRUPT;
        *ret_start = start;
        return 0;
    }
    return ERR_STALE;
}

bool
spool_share_has(const struct spool_share *s, uint64_t number)
{
    const struct spool_share_page *page = s->page;
    uint64_t n = MIN(atomic_load(&page->nsegments), (uint64_t)SPOOL_SHARE_SEGMENTS);

    for (uint64_t i = 0; i < n; i++) {
        if (atomic_load(&page->segments[i].number) == number)
            return true;
    }
    return false;
}

int
spool_share_locate(const struct spool_share *s, uint64_t pos, struct spool_loc *ret,
                   uint64_t *ret_generation)
{
    struct spool_segment segment;
    uint64_t start;
    int err = spool_share_segment_at(s, pos, &segment, &start);

    if (err < 0)
        return err;
    *ret = (struct spool_loc){segment.number, SPOOL_UNIT + (pos - start)};
    *ret_generation = segment.generation;
    return 0;
}
