/*
 * bench/spool_bench.c - records a second and CPU a record through spool_writer, on a real disk.
 *
 *     make build/bench/spool_bench
 *     build/bench/spool_bench [-d DIR] [-p PRODUCERS] [-n RECORDS] [-b BODY] [-s SEGMENT_MB] [-k 1]
 *
 * PRODUCERS records are outstanding at any time: each is offered anew when its done() comes, as a
 * session does that waits for its 250. Pre-writing comes before the clock starts; segments are
 * recycled through the pool while it runs. A tail in the same process reads every record. With -k 1
 * segments are kept, and what a start would read of them is timed at the end (written with
 * O_DIRECT they are not in the cache).
 */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/clock.h"
#include "spool/pool.h"
#include "spool/reader.h"
#include "spool/writer.h"

struct bench {
    struct spool_writer *writer;
    struct spool_pool *pool;
    uint32_t epoch;
    int wake;
    uint64_t started, done, wanted, failed, seen;
    uint64_t keep;
    struct spool_segment given[64];
    struct iovec body;
    struct str payload;
};

struct producer {
    struct spool_out out;
    struct bench *b;
};

static void
producer_done(struct spool_out *out, int status)
{
    struct producer *p = CONTAINER_OF(out, struct producer, out);
    struct bench *b = p->b;

    b->done++;
    if (status < 0)
        b->failed++;
    if (b->started >= b->wanted)
        return;
    b->started++;
    p->out = (struct spool_out){
        .type = SPOOL_MESSAGE,
        .seq = spool_writer_seq(b->writer),
        .payload = b->payload,
        .body = &b->body,
        .nbody = 1,
        .done = producer_done,
    };
    if (spool_writer_add(b->writer, &p->out) < 0) {
        b->failed++;
        b->done++;
    }
}

static void
need_segment(void *ctx)
{
    struct bench *b = ctx;
    struct spool_segment s;
    int fd, err = spool_pool_take(b->pool, SPOOL_STREAM_GATE << 8, b->epoch, &fd, &s);

    if (err < 0) {
        fprintf(stderr, "take: %s\n", err_text(err));
        spool_writer_starve(b->writer);
        return;
    }
    b->given[s.number % ARRAY_LEN(b->given)] = s;
    spool_writer_give(b->writer, fd, &s);
}

/* A real segment lives until its mail is settled; here at once, so that the pool recycles. */
static void
segment_left(void *ctx, uint64_t number, UNUSED bool failed)
{
    struct bench *b = ctx;
    struct spool_segment *s = &b->given[number % ARRAY_LEN(b->given)];

    if (!b->keep)
        spool_pool_free(b->pool, number, s->generation);
}

static void
wake(void *ctx)
{
    struct bench *b = ctx;
    uint64_t one = 1;

    if (write(b->wake, &one, sizeof one) < 0)
        perror("wake");
}

static int
count_record(void *ctx, UNUSED const struct spool_place *place,
             UNUSED const struct spool_record *record)
{
    ((struct bench *)ctx)->seen++;
    return 0;
}

static double
cpu_s(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void
run(struct bench *b, struct spool_tail *tail, struct producer *producers, unsigned n)
{
    struct pollfd fd = {.fd = b->wake, .events = POLLIN};
    uint64_t count;

    while (b->done < b->wanted) {
        if (poll(&fd, 1, -1) < 0 || read(b->wake, &count, sizeof count) < 0)
            continue;
        spool_writer_poll(b->writer);
        if (b->started == 0 && spool_writer_state(b->writer) == SPOOL_WRITER_READY) {
            for (unsigned i = 0; i < n; i++) {
                producers[i].b = b;
                b->done--;
                producer_done(&producers[i].out, 0);
            }
        }
        spool_tail_run(tail, 100);
    }
    while (spool_tail_run(tail, 100) > 0)
        continue;
}

static void
report(const struct bench *b, double wall, double cpu)
{
    struct spool_writer_stats s;

    spool_writer_stats(b->writer, &s);
    printf("records %llu  failed %llu  read %llu  seconds %.2f\n", (unsigned long long)b->done,
           (unsigned long long)b->failed, (unsigned long long)b->seen, wall);
    printf("records/s %.0f  CPU us/record %.2f  MB/s %.0f\n", (double)b->done / wall,
           cpu * 1e6 / (double)b->done, (double)s.bytes / wall / 1e6);
    printf("records/batch %.1f  syncs/s %.0f  sync us mean %.0f max %.0f\n",
           (double)s.records / (double)s.batches, (double)s.syncs / wall,
           (double)s.sync_ns_sum / (double)s.syncs / 1e3, (double)s.sync_ns_max / 1e3);
}

/* What a start reads: every epoch of the listing. */
static int
recover(struct bench *b, const char *dir)
{
    struct spool_reader_ops reader = {.record = count_record};
    struct spool_listing all;
    struct why why = {0};
    double start = (double)clock_mono() / 1e9, cpu = cpu_s();
    size_t n;
    int err = spool_list(dir, NULL, &all, &why);

    b->seen = 0;
    for (size_t i = 0; err == 0 && i < all.n; i += n) {
        for (n = 1; i + n < all.n && all.items[i + n].epoch == all.items[i].epoch;)
            n++;
        err = spool_epoch_read(dir, all.items + i, n, NULL, &reader, b);
    }
    if (err < 0)
        return err;
    printf("recovery: %llu records of %zu segments in %.2f s, CPU %.2f s\n",
           (unsigned long long)b->seen, all.n, (double)clock_mono() / 1e9 - start, cpu_s() - cpu);
    spool_listing_done(&all);
    return 0;
}

static int
bench_open(struct bench *b, const char *dir, uint64_t segment_mb, unsigned standby,
           struct spool_tail **ret_tail)
{
    struct spool_pool_conf conf = {
        .dir = dir, .segment_size = segment_mb << 20, .ready = 8, .reserve = 1};
    struct spool_writer_ops ops = {need_segment, segment_left, wake, NULL};
    struct spool_reader_ops reader = {.record = count_record};
    struct spool_writer_conf writer = {.stream = SPOOL_STREAM_GATE << 8, .standby = standby};
    struct spool_share share;
    struct spool_space space;
    struct why why = {0};
    int err = spool_pool_open(&b->pool, &conf, &why);

    if (err < 0) {
        fprintf(stderr, "%s\n", why.text);
        return err;
    }
    while ((err = spool_pool_prepare(b->pool)) == 1)
        continue;
    if (err < 0)
        return err;
    spool_pool_space(b->pool, &space);
    printf("%s: O_DIRECT %s %s\n", dir, space.direct ? "yes" : "no:", space.direct_why);
    b->wake = eventfd(0, EFD_CLOEXEC);
    b->epoch = (uint32_t)spool_pool_epoch(b->pool, SPOOL_STREAM_GATE << 8);
    writer.epoch = b->epoch;
    writer.node = spool_pool_node(b->pool);
    err = spool_writer_create(&b->writer, &writer, &ops, b);
    if (err < 0)
        return err;
    err = spool_share_attach(&share, dup(spool_writer_share(b->writer)->fd),
                             dup(spool_writer_share(b->writer)->wake_fd));
    return err < 0 ? err : spool_tail_create(ret_tail, dir, share, NULL, &reader, b);
}

int
main(int argc, char **argv)
{
    uint64_t producers = 100, records = 600000, body = 10240, segment = 64, standby = 2;
    const char *dir = "/tmp/gapura-spool-bench";
    struct bench b = {0};
    struct spool_tail *tail = NULL;
    struct producer *p;
    double cpu, start;
    int opt, err;

    while ((opt = getopt(argc, argv, "d:p:n:b:s:w:k:")) != -1) {
        uint64_t *number = opt == 'p'   ? &producers
                           : opt == 'n' ? &records
                           : opt == 'b' ? &body
                           : opt == 's' ? &segment
                           : opt == 'w' ? &standby
                           : opt == 'k' ? &b.keep
                                        : NULL;
        if (opt == 'd')
            dir = optarg;
        else if (!number || str_u64(str_c(optarg), number) < 0)
            return 2;
    }
    p = calloc(producers, sizeof *p);
    b.wanted = records;
    b.body = (struct iovec){malloc(body), body};
    b.payload = str_of(calloc(1, 200), 200);
    memset(b.body.iov_base, 'x', body);
    err = bench_open(&b, dir, segment, (unsigned)standby, &tail);
    if (err < 0) {
        fprintf(stderr, "%s\n", err_text(err));
        return 1;
    }
    cpu = cpu_s();
    start = (double)clock_mono() / 1e9;
    run(&b, tail, p, (unsigned)producers);
    report(&b, (double)clock_mono() / 1e9 - start, cpu_s() - cpu);
    spool_tail_free(tail);
    spool_writer_free(b.writer);
    spool_pool_close(b.pool);
    if (b.keep && recover(&b, dir) < 0)
        b.failed++;
    free(p);
    free(b.body.iov_base);
    free((void *)(uintptr_t)b.payload.p);
    return b.failed > 0;
}
