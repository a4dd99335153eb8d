/* tests/unit/test_lab_wind.c - the shipped scenarios: our law against the oracle and fixed limits.
 */
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "lab/wind.h"
#include "tap.h"

#define SEEDS     30
#define FOLDER    "share/lab/wind"
#define MEDIAN    1.25 /* times the oracle */
#define WORST     1.6
#define LEAST_USE 0.80

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct sums {
    double times[SEEDS], use;
    uint64_t blocks, unfinished;
};

static void
blow(const struct wind_law *law, const struct conf *conf, unsigned seeds, struct sums *ret)
{
    *ret = (struct sums){.use = 0};
    for (unsigned i = 0; i < seeds; i++) {
        struct wind_result r;
        IS(wind_blow(law, conf, i + 1, &r), 0, "%s, seed %u", law->name, i + 1);
        ret->times[i] = r.seconds;
        ret->use += r.use / seeds;
        ret->blocks += r.blocks;
        ret->unfinished += !r.finished;
    }
    qsort(ret->times, seeds, sizeof(ret->times[0]), by_value);
}

static void
scenario(const char *file)
{
    struct conf_errors errs = {0};
    struct conf *conf = wind_scenario_load(file, &errs);
    struct sums ours, fixed;

    OK(conf && !errs.n, "%s is read", file);
    conf_errors_done(&errs);
    if (!conf)
        return;
    double oracle = wind_oracle(conf);
    blow(&wind_laws[0], conf, SEEDS, &ours);
    blow(&wind_laws[1], conf, 3, &fixed);
    OK(ours.unfinished == 0, "%s: all of it is sent", file);
    OK(ours.times[SEEDS / 2] <= MEDIAN * oracle, "%s: median %.2f times the oracle", file,
       ours.times[SEEDS / 2] / oracle);
    OK(ours.times[SEEDS - 1] <= WORST * oracle, "%s: worst %.2f", file,
       ours.times[SEEDS - 1] / oracle);
    OK(ours.use >= LEAST_USE, "%s: uses %.2f of what the limits permit", file, ours.use);
    OK((double)ours.blocks / SEEDS <= (double)fixed.blocks / 3 / 10,
       "%s: %.1f blocks, fixed limits %.1f", file, (double)ours.blocks / SEEDS,
       (double)fixed.blocks / 3);
    conf_free(conf);
}

static void
test_same_seed(void)
{
    struct wind_provider_conf c = {.share = 1,
                                   .rate = {.count = 10, .period_ns = NS_PER_S},
                                   .sessions = 4,
                                   .trust = 50,
                                   .trust_grows = 1000,
                                   .latency = 100 * NS_PER_MS,
                                   .block_heals = NS_PER_S,
                                   .noise = 20,
                                   .noise_wait = 60 * NS_PER_S};
    struct wind_result a, b;

    wind_blow_one(&wind_laws[0], &c, 5000, 86400 * NS_PER_S, 7, &a);
    wind_blow_one(&wind_laws[0], &c, 5000, 86400 * NS_PER_S, 7, &b);
    OK(a.seconds == b.seconds && a.deferrals == b.deferrals, "a run is a function of its seed");
    OK(a.messages == 5000 && a.finished, "everything is delivered");
    wind_blow_one(&wind_laws[0], &c, 5000, 86400 * NS_PER_S, 8, &b);
    OK(a.deferrals != b.deferrals || a.seconds != b.seconds, "another seed, another run");
}

/* Nobody finishes an outage that lasts: no law's time is longer than the horizon. */
static void
test_horizon(void)
{
    struct wind_provider_conf c = {.rate = {.count = 1, .period_ns = NS_PER_S},
                                   .sessions = 1,
                                   .trust = 100,
                                   .trust_grows = 1,
                                   .latency = 100 * NS_PER_MS,
                                   .block_heals = NS_PER_S,
                                   .dip_to = 100};
    uint64_t always[] = {0, 86400 * NS_PER_S};
    struct wind_result r;

    c.outages = (struct conf_list){always, 2};
    for (size_t i = 0; i < wind_nlaws; i++) {
        wind_blow_one(&wind_laws[i], &c, 10, 3600 * NS_PER_S, 1, &r);
        OK(!r.finished && r.messages == 0 && r.seconds == 3600, "%s is given up at the horizon",
           wind_laws[i].name);
    }
}

static void
one_mistake(const char *text, const char *says)
{
    char path[] = "/tmp/gapura-wind-XXXXXX";
    struct conf_errors errs = {0};
    int fd = mkstemp(path);

    OK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "a file");
    close(fd);
    struct conf *conf = wind_scenario_load(path, &errs);
    OK(!conf && errs.n == 1 &&
           memmem(errs.items[0].text.p, errs.items[0].text.n, says, strlen(says)),
       "%s", says);
    conf_free(conf);
    conf_errors_done(&errs);
    unlink(path);
}

#define SCENARIO "scenario {\n messages = 10\n}\n"

static void
test_mistakes(void)
{
    struct conf_errors errs = {0};

    one_mistake(SCENARIO, "at least one block provider");
    one_mistake(SCENARIO "provider a {\n rate = none\n}\n", "give `rate`");
    one_mistake(SCENARIO "provider a {\n rate = 1/s\n outages = 1h\n}\n", "outages come in pairs");
    one_mistake(SCENARIO "provider a {\n rate = 1/s\n dips = 1h\n}\n", "dips come in pairs");
    one_mistake(SCENARIO "provider a {\n rate = 1/s\n block_after = 99999999\n}\n", "too large");

    OK(!wind_scenario_load("share/lab/wind/none.conf", &errs) && errs.n == 1, "a missing file");
    conf_errors_done(&errs);
}

int
main(void)
{
    struct dirent **names;
    int n = scandir(FOLDER, &names, NULL, alphasort);

    test_same_seed();
    test_horizon();
    test_mistakes();
    for (int i = 0; i < n; i++) {
        char path[512];
        if (names[i]->d_name[0] != '.') {
            snprintf(path, sizeof(path), FOLDER "/%s", names[i]->d_name);
            scenario(path);
        }
        free(names[i]);
    }
    if (n < 0)
        tap_skip("shipped scenarios", "run me at the top of the checkout");
    else
        free(names);
    return tap_done();
}
