/* Snapshots: what was added is found, what was damaged is not, and nothing of it is a fault. */
#include "store/snapshot.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tap.h"

static void
test_round_trip(void)
{
    struct snapshot_builder *b = snapshot_build(7);
    struct snapshot s = {0};
    struct str got = STR("untouched");
    char key[32];
    int fd, missing = 0;

    snapshot_add(b, SNAPSHOT_RCPT, STR("alice@example.com"), STR_NONE);
    snapshot_add(b, SNAPSHOT_ALIAS, STR("alice@example.com"), STR("bob@example.com"));
    snapshot_add(b, SNAPSHOT_ALIAS, STR("alice@example.com"), STR("second@example.com"));
    for (int i = 0; i < 5000; i++) {
        size_t n = str_fmt(key, sizeof(key), "user%d@example.org", i);

        snapshot_add(b, SNAPSHOT_RCPT, str_of(key, n), str_of(key, n));
    }
    OK(snapshot_added(b, SNAPSHOT_RCPT, STR("user17@example.org"), &got), "seen while building");
    fd = snapshot_finish(b);
    OK(fd >= 0, "sealed");
    OK(ftruncate(fd, 10) < 0, "cannot be cut short");
    IS(snapshot_map(&s, fd), 0, "mapped");
    IS(s.generation, 7, "generation");
    OK(snapshot_get(&s, SNAPSHOT_ALIAS, STR("alice@example.com"), &got), "alias");
    TEXT(got, "bob@example.com", "of two equal keys the first stays");
    OK(snapshot_get(&s, SNAPSHOT_RCPT, STR("alice@example.com"), &got) && got.n == 0,
       "tables are apart");
    OK(!snapshot_get(&s, SNAPSHOT_USER, STR("alice@example.com"), &got), "other table: no");
    OK(!snapshot_get(&s, SNAPSHOT_RCPT, STR("nobody@example.com"), &got), "unknown: no");
    OK(snapshot_address(&s, SNAPSHOT_RCPT, STR("Alice@example.com"), &got), "without case");
    for (int i = 0; i < 5000; i++) {
        size_t n = str_fmt(key, sizeof(key), "user%d@example.org", i);

        missing += !snapshot_get(&s, SNAPSHOT_RCPT, str_of(key, n), &got) || got.n != n;
    }
    IS(missing, 0, "all of 5000 found");
    snapshot_unmap(&s);
    OK(!snapshot_get(&s, SNAPSHOT_RCPT, STR("x"), &got), "unmapped: nothing");
}

static void
test_ceilings(void)
{
    static char big[4096];
    struct snapshot_builder *b = snapshot_build(1);

    memset(big, 'x', sizeof(big));
    IS(snapshot_add(b, SNAPSHOT_RCPT, str_of(big, sizeof(big)), STR_NONE), ERR_LIMIT, "long key");
    IS(snapshot_finish(b), ERR_LIMIT, "a failed add fails the whole");
    b = snapshot_build(1);
    snapshot_abandon(b);
    snapshot_abandon(NULL);
}

static int
memfd_of(const void *p, size_t n, unsigned seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || write(fd, p, n) != (ssize_t)n || fcntl(fd, F_ADD_SEALS, seals) < 0)
        return -1;
    return fd;
}

/* Every byte of a small snapshot is changed in turn, and it is cut at every length. */
static void
test_hostile(void)
{
    struct snapshot_builder *b = snapshot_build(1);
    static uint8_t good[8192], bad[8192];
    struct snapshot s;
    struct str got;
    uint32_t random = 1;
    size_t n;
    int fd, mapped = 0;

    snapshot_add(b, SNAPSHOT_RCPT, STR("a@b"), STR("value"));
    snapshot_add(b, SNAPSHOT_RCPT, STR("c@d"), STR("other"));
    fd = snapshot_finish(b);
    n = (size_t)pread(fd, good, sizeof(good), 0);
    OK(n > 64 && n < sizeof(good), "small");
    close(fd);
    for (size_t i = 0; i < n; i++) {
        memcpy(bad, good, n);
        random = random * 1664525 + 1013904223;
        bad[i] ^= (uint8_t)(1 + random % 255);
        if (snapshot_map(&s, memfd_of(bad, n, F_SEAL_WRITE | F_SEAL_SHRINK)) == 0) {
            mapped++;
            if (snapshot_get(&s, SNAPSHOT_RCPT, STR("a@b"), &got))
                mapped += got.n > n ? 100000 : 0;
            snapshot_get(&s, SNAPSHOT_RCPT, STR("nobody"), &got);
            snapshot_unmap(&s);
        }
    }
    OK(mapped > 0 && mapped < 100000, "changed bytes: no fault, no value beyond the map");
    memcpy(bad, good, n);
    memset(bad + 40, 0xff, n - 40);
    if (snapshot_map(&s, memfd_of(bad, n, F_SEAL_WRITE | F_SEAL_SHRINK)) == 0) {
        OK(!snapshot_get(&s, SNAPSHOT_RCPT, STR("a@b"), &got), "all offsets wild: not found");
        snapshot_unmap(&s);
    }
    for (size_t cut = 0; cut < n; cut += 7)
        if (snapshot_map(&s, memfd_of(good, cut, F_SEAL_WRITE | F_SEAL_SHRINK)) == 0)
            mapped = 100000;
    OK(mapped < 100000, "cut short: refused");
    IS(snapshot_map(&s, memfd_of(good, n, 0)), ERR_CORRUPT, "not sealed: refused");
    IS(snapshot_map(&s, memfd_of(good, n, F_SEAL_WRITE)), ERR_CORRUPT, "could shrink: refused");
    IS(snapshot_map(&s, open("/dev/null", O_RDONLY | O_CLOEXEC)), ERR_CORRUPT, "no memfd");
}

int
main(void)
{
    test_round_trip();
    test_ceilings();
    test_hostile();
    return tap_done();
}
