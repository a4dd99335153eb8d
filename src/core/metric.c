/*
 * core/metric.c - counters in a page that roles share, and their text for Prometheus and people.
 *
 * Called by every role to count, by the control socket to print. Never locks: a slot has one owner.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/err.h"
#include "core/metric.h"

/* Slots start on cache lines of their own, so that roles do not slow each other down. */
#define METRIC_STRIDE ((METRIC_MAX_ + 7) / 8 * 8)

struct metric_page {
    uint64_t slots[METRIC_ROLES][METRIC_STRIDE];
};

enum metric_kind { METRIC_KIND_COUNTER, METRIC_KIND_GAUGE };

struct metric_info {
    enum metric_kind kind;
    const char *name;
    const char *help;
};

#define METRIC_INFO(id, kind, name, help) {METRIC_KIND_##kind, name, help},
static const struct metric_info metric_infos[METRIC_MAX_] = {METRIC_TABLE(METRIC_INFO)};

static _Alignas(64) struct metric_page metric_private;
static struct metric_page *metric_page = &metric_private;
static uint64_t *metric_slot = metric_private.slots[0];

size_t
metric_page_size(void)
{
    return round_up(sizeof(struct metric_page), 4096);
}

/* What was counted before goes along; gauges of the process that had the slot ended with it. */
static void
metric_move(uint64_t *to)
{
    if (to == metric_slot)
        return;
    for (size_t m = 0; m < METRIC_MAX_; m++) {
        uint64_t old = metric_infos[m].kind == METRIC_KIND_COUNTER ? to[m] : 0;

        __atomic_store_n(&to[m], old + metric_slot[m], __ATOMIC_RELAXED);
        metric_slot[m] = 0;
    }
    metric_slot = to;
}

int
metric_attach(int fd, unsigned role)
{
    struct stat st;
    void *page;

    if (role >= METRIC_ROLES)
        return -EINVAL;
    if (fd < 0) {
        metric_move(metric_page->slots[role]);
        return 0;
    }
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size < (off_t)metric_page_size())
        return ERR_CORRUPT; /* touching what lies behind the end would kill us */
    page = mmap(NULL, metric_page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return -errno;
    metric_move(((struct metric_page *)page)->slots[role]);
    if (metric_page != &metric_private)
        munmap(metric_page, metric_page_size());
    metric_page = page;
    return 0;
}

void
metric_add(enum metric m, uint64_t n)
{
    __atomic_fetch_add(&metric_slot[m], n, __ATOMIC_RELAXED);
}

void
metric_set(enum metric m, uint64_t value)
{
    __atomic_store_n(&metric_slot[m], value, __ATOMIC_RELAXED);
}

uint64_t
metric_sum(enum metric m)
{
    uint64_t sum = 0;

    for (size_t role = 0; role < METRIC_ROLES; role++)
        sum += __atomic_load_n(&metric_page->slots[role][m], __ATOMIC_RELAXED);
    return sum;
}

void
metric_prometheus(struct buf *out)
{
    for (size_t m = 0; m < METRIC_MAX_; m++) {
        const struct metric_info *info = &metric_infos[m];

        buf_fmt(out, "# HELP gapura_%s %s\n# TYPE gapura_%s %s\ngapura_%s ", info->name, info->help,
                info->name, info->kind == METRIC_KIND_GAUGE ? "gauge" : "counter", info->name);
        buf_u64(out, metric_sum((enum metric)m));
        buf_char(out, '\n');
    }
}

void
metric_json(struct buf *out)
{
    for (size_t m = 0; m < METRIC_MAX_; m++) {
        buf_c(out, m ? ",\"" : "{\"");
        buf_c(out, metric_infos[m].name);
        buf_c(out, "\":");
        buf_u64(out, metric_sum((enum metric)m));
    }
    buf_char(out, '}');
}
