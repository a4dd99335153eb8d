/* tests/unit/test_core_metric.c - counting alone and in a shared page. */
#include <sys/mman.h>
#include <unistd.h>

#include "core/err.h"
#include "core/metric.h"
#include "tap.h"

int
main(void)
{
    struct buf b;
    int fd = memfd_create("metrics", MFD_CLOEXEC), small = memfd_create("small", MFD_CLOEXEC);

    buf_init(&b, 100000);
    metric_add(METRIC_ACCEPTED, 3);
    metric_add(METRIC_SESSIONS, 2);
    metric_add(METRIC_SESSIONS, (uint64_t)-1);
    IS(metric_sum(METRIC_ACCEPTED), 3, "counted alone");
    IS(metric_sum(METRIC_SESSIONS), 1, "a gauge goes down, too");
    IS(metric_attach(small, 1), ERR_CORRUPT, "a page that is too small is refused");
    IS(metric_attach(fd, METRIC_ROLES), -22, "no such slot");
    IS(ftruncate(fd, (off_t)metric_page_size()), 0, "page made");
    IS(metric_attach(fd, 1), 0, "attached");
    IS(metric_sum(METRIC_ACCEPTED), 3, "what was counted goes along");
    IS(metric_sum(METRIC_SESSIONS), 1, "gauges as well");
    IS(metric_attach(-1, 2), 0, "another slot of the same page");
    metric_add(METRIC_ACCEPTED, 4);
    IS(metric_sum(METRIC_ACCEPTED), 7, "sums over roles");
    metric_set(METRIC_WAITING, 9);
    IS(metric_attach(fd, 3), 0, "mapped again");
    IS(metric_sum(METRIC_ACCEPTED), 7, "nothing is lost");
    metric_prometheus(&b);
    OK(str_find(buf_view(&b), STR("# HELP gapura_messages_accepted_total Messages answered")) > 0,
       "help");
    OK(str_find(buf_view(&b), STR("# TYPE gapura_messages_accepted_total counter\n"
                                  "gapura_messages_accepted_total 7\n")) > 0,
       "counter");
    OK(str_find(buf_view(&b), STR("# TYPE gapura_queue_recipients gauge\n"
                                  "gapura_queue_recipients 9\n")) > 0,
       "gauge");
    buf_clear(&b);
    metric_json(&b);
    OK(str_starts(buf_view(&b), STR("{\"smtp_connections_total\":0,")), "JSON begins");
    OK(str_find(buf_view(&b), STR(",\"messages_accepted_total\":7,")) > 0, "JSON counts");
    OK(str_ends(buf_view(&b), STR("\"role_restarts_total\":0}")), "JSON ends");
    buf_done(&b);
    close(fd);
    close(small);
    return tap_done();
}
