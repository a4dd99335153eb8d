/*
 * store/snapshot.c - immutable maps in a sealed memfd: a hash table of (hash, offset) and entries.
 *
 * Built by the keeper, mapped read-only by gate, courier and keyring. A reader never trusts a byte
 * of it: the seals are checked once, every offset and length at each lookup.
 *
 * Layout, in the machine's byte order (it never leaves the machine): struct head, slots[], entries.
 * An entry: u32 key bytes (with the table's byte), u32 value bytes, key, value.
 */
#include "store/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC     UINT64_C(0x31504e5341504147) /* "GAPASNP1" read as a number */
#define SEALS     (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define KEY_MAX   1024u
#define VALUE_MAX (1u << 20)

struct head {
    uint64_t magic, generation, seed;
    uint32_t size;  /* of all */
    uint32_t slots; /* a power of two */
    uint32_t entries;
    uint32_t spare;
};
struct slot {
    uint32_t hash;
    uint32_t at; /* of the entry in the file; 0: free */
};

struct snapshot_builder {
    uint64_t generation, seed;
    struct buf entries;
    struct slot *slots; /* `at` counts from the start of `entries`, plus 1 */
    uint32_t nslots, n;
    int failed;
};

static uint32_t
hash_of(uint64_t seed, enum snapshot_table table, struct str key)
{
    uint64_t h = str_hash(key, seed ^ (uint64_t)table * UINT64_C(0x9e3779b97f4a7c15));

    return (uint32_t)(h ^ h >> 32);
}

struct snapshot_builder *
snapshot_build(uint64_t generation)
{
    struct snapshot_builder *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    b->generation = generation;
    b->nslots = 256;
    b->slots = calloc(b->nslots, sizeof(*b->slots));
    buf_init(&b->entries, UINT32_MAX - (256u << 20)); /* the rest is for slots */
    if (!b->slots || getrandom(&b->seed, sizeof(b->seed), 0) != (ssize_t)sizeof(b->seed)) {
        snapshot_abandon(b);
        return NULL;
    }
    return b;
}

void
snapshot_abandon(struct snapshot_builder *b)
{
    if (!b)
        return;
    buf_done(&b->entries);
    free(b->slots);
    free(b);
}

/* The entry at `at` of an area of `size` bytes, if it is that key's. */
static bool
entry_is(const char *area, size_t size, size_t at, enum snapshot_table table, struct str key,
         struct str *ret_value)
{
    uint32_t nkey, nvalue;

    if (at > size || size - at < 8)
        return false;
    memcpy(&nkey, area + at, 4);
    memcpy(&nvalue, area + at + 4, 4);
    at += 8;
    if (nkey > size - at || nvalue > size - at - nkey || nkey != key.n + 1)
        return false;
    if (area[at] != (char)table || (key.n && memcmp(area + at + 1, key.p, key.n)))
        return false;
    *ret_value = str_of(area + at + nkey, nvalue);
    return true;
}

/* The slot of the key, or the free one where it would go. */
static struct slot *
builder_slot(const struct snapshot_builder *b, enum snapshot_table table, struct str key,
             uint32_t hash, struct str *ret_value)
{
    for (uint32_t i = hash;; i++) {
        struct slot *slot = &b->slots[i & (b->nslots - 1)];

        if (!slot->at)
            return slot;
        if (slot->hash == hash &&
            entry_is(b->entries.p, b->entries.n, slot->at - 1, table, key, ret_value))
            return slot;
    }
}

static bool
builder_grow(struct snapshot_builder *b)
{
    uint32_t wanted = b->nslots * 2;
    struct slot *slots = calloc(wanted, sizeof(*slots));

    if (!slots)
        return false;
    for (uint32_t i = 0; i < b->nslots; i++) {
        uint32_t at = b->slots[i].hash;

        if (!b->slots[i].at)
            continue;
        while (slots[at & (wanted - 1)].at)
            at++;
        slots[at & (wanted - 1)] = b->slots[i];
    }
    free(b->slots);
    b->slots = slots;
    b->nslots = wanted;
    return true;
}

int
snapshot_add(struct snapshot_builder *b, enum snapshot_table table, struct str key,
             struct str value)
{
    uint32_t hash = hash_of(b->seed, table, key);
    uint32_t sizes[2] = {(uint32_t)key.n + 1, (uint32_t)value.n};
    struct slot *slot;
    struct str old;
    size_t at = b->entries.n;

    if (b->failed)
        return b->failed;
    if (key.n > KEY_MAX || value.n > VALUE_MAX)
        return b->failed = ERR_LIMIT;
    if ((uint64_t)(b->n + 1) * 4 > (uint64_t)b->nslots * 3 &&
        (b->nslots >= 1u << 24 || !builder_grow(b)))
        return b->failed = b->nslots >= 1u << 24 ? ERR_LIMIT : ERR_NOMEM;
    slot = builder_slot(b, table, key, hash, &old);
    if (slot->at)
        return 0;
    buf_add(&b->entries, sizes, sizeof(sizes));
    buf_char(&b->entries, (char)table);
    buf_str(&b->entries, key);
    buf_str(&b->entries, value);
    if (b->entries.failed)
        return b->failed = ERR_LIMIT;
    *slot = (struct slot){.hash = hash, .at = (uint32_t)at + 1};
    b->n++;
    return 0;
}

bool
snapshot_added(const struct snapshot_builder *b, enum snapshot_table table, struct str key,
               struct str *ret)
{
    return builder_slot(b, table, key, hash_of(b->seed, table, key), ret)->at != 0;
}

static void
builder_write(const struct snapshot_builder *b, void *base, size_t size)
{
    size_t area = sizeof(struct head) + (size_t)b->nslots * sizeof(struct slot);
    struct head *head = base;
    struct slot *slots = (struct slot *)(void *)((char *)base + sizeof(*head));

    *head = (struct head){.magic = MAGIC,
                          .generation = b->generation,
                          .seed = b->seed,
                          .size = (uint32_t)size,
                          .slots = b->nslots,
                          .entries = b->n};
    for (uint32_t i = 0; i < b->nslots; i++)
        if (b->slots[i].at)
            slots[i] = (struct slot){b->slots[i].hash, (uint32_t)(b->slots[i].at - 1 + area)};
    if (b->entries.n)
        memcpy((char *)base + area, b->entries.p, b->entries.n);
}

int
snapshot_finish(struct snapshot_builder *b)
{
    size_t size = sizeof(struct head) + (size_t)b->nslots * sizeof(struct slot) + b->entries.n;
    void *base = MAP_FAILED;
    int fd = -1, r = b->failed;

    if (r == 0) {
        fd = memfd_create("gapura-snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        r = fd < 0 ? -errno : 0;
    }
    /* reserving now turns a full memory into an error instead of a signal */
    if (r == 0)
        r = -posix_fallocate(fd, 0, (off_t)size);
    if (r == 0) {
        base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        r = base == MAP_FAILED ? -errno : 0;
    }
    if (r == 0) {
        builder_write(b, base, size);
        munmap(base, size); /* no writable map may be left when F_SEAL_WRITE is set */
        r = fcntl(fd, F_ADD_SEALS, SEALS) < 0 ? -errno : 0;
    }
    if (r < 0)
        fd_close(&fd);
    snapshot_abandon(b);
    return r < 0 ? r : fd;
}

/* Without these seals a later truncation by the sender would be a signal for the reader. */
static bool
is_sealed(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);

    return seals >= 0 && (seals & (F_SEAL_WRITE | F_SEAL_SHRINK)) == (F_SEAL_WRITE | F_SEAL_SHRINK);
}

int
snapshot_map(struct snapshot *ret, int fd)
{
    CLEANUP(fd_close) int own = fd;
    struct stat st;
    struct head head;
    void *base;

    if (!is_sealed(own) || fstat(own, &st) < 0)
        return ERR_CORRUPT;
    if (st.st_size < (off_t)sizeof(head) || st.st_size > (off_t)UINT32_MAX)
        return ERR_CORRUPT;
    base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, own, 0);
    if (base == MAP_FAILED)
        return -errno;
    memcpy(&head, base, sizeof(head));
    if (head.magic != MAGIC || head.size != (uint64_t)st.st_size || !head.slots ||
        (head.slots & (head.slots - 1)) ||
        head.slots > (head.size - sizeof(head)) / sizeof(struct slot)) {
        munmap(base, (size_t)st.st_size);
        return ERR_CORRUPT;
    }
    *ret =
        (struct snapshot){.base = base, .size = (size_t)st.st_size, .generation = head.generation};
    return 0;
}

void
snapshot_unmap(struct snapshot *s)
{
    if (s->base)
        munmap((void *)(uintptr_t)s->base, s->size);
    *s = (struct snapshot){0};
}

bool
snapshot_get(const struct snapshot *s, enum snapshot_table table, struct str key, struct str *ret)
{
    struct head head;
    uint32_t hash;

    if (!s || !s->base || key.n > KEY_MAX)
        return false;
    memcpy(&head, s->base, sizeof(head)); /* sealed: it is still as it was checked */
    hash = hash_of(head.seed, table, key);
    for (uint32_t n = 0; n < head.slots; n++) {
        uint32_t i = (hash + n) & (head.slots - 1);
        struct slot slot;

        memcpy(&slot, s->base + sizeof(head) + (size_t)i * sizeof(slot), sizeof(slot));
        if (!slot.at)
            return false;
        if (slot.hash == hash && entry_is((const char *)s->base, s->size, slot.at, table, key, ret))
            return true;
    }
    return false;
}

bool
snapshot_address(const struct snapshot *s, enum snapshot_table table, struct str key,
                 struct str *ret)
{
    char lower[KEY_MAX];

    if (snapshot_get(s, table, key, ret))
        return true;
    if (key.n > sizeof(lower))
        return false;
    if (key.n)
        memcpy(lower, key.p, key.n);
    str_lower(lower, key.n);
    return snapshot_get(s, table, str_of(lower, key.n), ret);
}
