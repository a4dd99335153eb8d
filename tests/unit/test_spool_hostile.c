/* A writer that lies: it owns its segment's bytes and knows the checksums. Readers end soon and
 * read nothing outside. (fuzz/fuzz_spool_segment.c looks for more of the kind.) */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/reader.h"
#include "tap.h"

static unsigned reads;

static ssize_t
counted_pread(void *ctx, int fd, void *p, size_t n, uint64_t off)
{
    (void)ctx;
    reads++;
    return spool_io_system.pread(spool_io_system.ctx, fd, p, n, off);
}

static int
on_record(void *ctx, const struct spool_place *p, const struct spool_record *r)
{
    (void)ctx, (void)p, (void)r;
    return 0;
}

static void
on_damage(void *ctx, const struct spool_segment *s, uint64_t from, uint64_t to, uint64_t after,
          uint64_t before)
{
    (void)ctx, (void)s, (void)from, (void)to, (void)after, (void)before;
}

static void
on_end(void *ctx, const struct spool_segment *s)
{
    (void)ctx, (void)s;
}

/* The header claims a terabyte, the file ends after two units. */
static void
test_claimed_size(const char *dir)
{
    static const struct spool_reader_ops ops = {on_record, on_damage, on_end};
    struct spool_io io = spool_io_system;
    struct spool_segment s = {.number = 1,
                              .generation = 5,
                              .size = UINT64_C(1) << 40,
                              .node = 1,
                              .epoch = 1,
                              .stream = 256,
                              .version = 1,
                              .state = SPOOL_SEGMENT_USED};
    uint8_t bytes[2 * SPOOL_UNIT] = {0};
    char path[128], name[32];
    uint64_t end = 0;

    io.pread = counted_pread;
    spool_segment_encode(&s, bytes);
    str_fmt(path, sizeof path, "%s/seg", dir);
    OK(mkdir(path, 0700) == 0, "a spool");
    str_fmt(path, sizeof path, "%s/seg/%s", dir, spool_segment_name(1, name));
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    OK(fd >= 0 && write(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes, "a small file");
    close(fd);
    for (int last = 0; last < 2; last++) {
        reads = 0;
        int rc = spool_segment_read(dir, &s, SPOOL_UNIT, last, &io, &ops, NULL, &end);
        OK(rc <= 0 && reads < 20, "read to its end, not to its claim (%u reads)", reads);
    }
    reads = 0;
    (void)spool_epoch_read(dir, &s, 1, &io, &ops, NULL);
    OK(reads < 40, "the same for its epoch (%u reads)", reads);
    (void)unlink(path);
    str_fmt(path, sizeof path, "%s/seg", dir);
    rmdir(path);
}

int
main(void)
{
    char dir[] = "/tmp/gapura-hostile-XXXXXX";

    if (!mkdtemp(dir))
        return 1;
    test_claimed_size(dir);
    rmdir(dir);
    return tap_done();
}
