/*
 * fuzz/fuzz_snapshot.c - snapshots from any bytes, and good ones with any bytes changed: a lookup
 * gives a view inside or nothing.
 */
#include "store/snapshot.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define KEYS 24

static struct str keys[KEYS];
static unsigned nkeys;

static void
look(const struct snapshot *s, struct str key)
{
    static const enum snapshot_table tables[] = {SNAPSHOT_DOMAIN, SNAPSHOT_RCPT, SNAPSHOT_ALIAS,
                                                 SNAPSHOT_USER, SNAPSHOT_VERIFIER};
    volatile char sink = 0;

    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        struct str got = STR_NONE;

        if (snapshot_get(s, tables[i], key, &got)) {
            ENSURE(got.n == 0 || ((const uint8_t *)got.p >= s->base &&
                                  (const uint8_t *)got.p + got.n <= s->base + s->size));
            for (size_t k = 0; k < got.n; k++)
                sink = (char)(sink ^ got.p[k]);
        }
        (void)snapshot_address(s, tables[i], key, &got);
    }
}

/* A good snapshot of the input's keys, as bytes. */
static size_t
build(struct wire *w, uint8_t *dst, size_t cap)
{
    struct snapshot_builder *b = snapshot_build(9);

    nkeys = 0;
    for (unsigned i = wire_u8(w) % KEYS; i > 0 && !w->failed; i--) {
        struct str key = wire_str16(w), value = wire_str16(w);

        if (!w->failed && snapshot_add(b, SNAPSHOT_RCPT, key, value) == 0)
            keys[nkeys++] = key;
    }
    int fd = snapshot_finish(b);
    ssize_t n = fd < 0 ? 0 : pread(fd, dst, cap, 0);
    fd_close(&fd);
    return n < 0 ? 0 : (size_t)n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t bytes[1u << 20];
    struct snapshot s = {0};
    struct wire w;
    size_t size;

    wire_init(&w, data, n);
    nkeys = 0;
    if (wire_u8(&w) & 1) {
        size = build(&w, bytes, sizeof bytes);
        bool whole = wire_left(&w) == 0 && !w.failed;

        while (wire_left(&w) >= 5 && size) { /* where, what */
            uint32_t at = wire_u32(&w);
            bytes[at % size] ^= wire_u8(&w);
        }
        if (whole && size == sizeof bytes)
            return 0; /* did not fit */
    } else {
        size = MIN(wire_left(&w), sizeof bytes);
        if (size)
            memcpy(bytes, w.p, size);
    }
    int fd = memfd_create("snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ENSURE(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    ENSURE(!fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
    if (snapshot_map(&s, fd) < 0)
        return 0;
    for (unsigned i = 0; i < nkeys; i++)
        look(&s, keys[i]);
    look(&s, STR("alice@example.com"));
    look(&s, STR(""));
    look(&s, str_of(data, MIN(n, (size_t)64)));
    snapshot_unmap(&s);
    return 0;
}
