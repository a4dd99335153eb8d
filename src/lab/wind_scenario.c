/*
 * lab/wind_scenario.c - rows of a scenario file, and the checks between them.
 *
 * Called by the wind tunnel and, in a process of its own, by its oracle.
 */
#include "lab/wind_scenario.h"

#include "core/clock.h"

const char *const wind_like_words[] = {"default", "google",  "yahoo", "outlook", "apple",
                                       "orange",  "comcast", "gmx",   NULL};

static const struct conf_row main_rows[] = {
    {.name = "title",
     CONF_ROW(TEXT, struct wind_main, title, .doc = "What the scenario is about, for people.")},
    {.name = "messages",
     CONF_ROW(U64, struct wind_main, messages, .min = 1, .max = 5000000, .flags = CONF_REQUIRED,
              .doc = "Messages to be sent, to all providers and from all sources.")},
    {.name = "sources",
     CONF_ROW(U64, struct wind_main, sources, .def = "1", .min = 1, .max = 64,
              .doc = "Source addresses; the messages are divided evenly among them.")},
    {.name = "horizon",
     CONF_ROW(DURATION, struct wind_main, horizon, .def = "14d", .min = NS_PER_S,
              .doc = "A law that has not finished by then is given up.")},
};
static const struct conf_block main_block = {
    .name = "scenario",
    .size = sizeof(struct wind_main),
    .rows = main_rows,
    .nrows = ARRAY_LEN(main_rows),
    .doc = "What is to be sent.",
};

static const struct conf_row provider_rows[] = {
    {.name = "share",
     CONF_ROW(U64, struct wind_provider_conf, share, .def = "1", .min = 1, .max = 1000000,
              .doc = "Share of the messages, as a weight among the providers.")},
    {.name = "rate",
     CONF_ROW(RATE, struct wind_provider_conf, rate, .flags = CONF_REQUIRED,
              .doc = "Most that is taken from one source at full trust; `burst` is how many may "
                     "come at once.")},
    {.name = "sessions",
     CONF_ROW(U64, struct wind_provider_conf, sessions, .def = "20", .min = 1, .max = 10000,
              .doc = "Connections at the same time from one source at full trust.")},
    {.name = "trust",
     CONF_ROW(U64, struct wind_provider_conf, trust, .def = "100", .min = 1, .max = 100,
              .doc = "Percent of rate and sessions that a source has at the beginning.")},
    {.name = "trust_grows",
     CONF_ROW(U64, struct wind_provider_conf, trust_grows, .def = "10000", .min = 1,
              .doc = "Messages taken after which 63 % of the missing trust is earned.")},
    {.name = "latency",
     CONF_ROW(
         DURATION, struct wind_provider_conf, latency, .def = "200ms", .min = NS_PER_MS,
         .doc = "Time from the beginning of a message to its reply, when there is little to do.")},
    {.name = "latency_full",
     CONF_ROW(DURATION, struct wind_provider_conf, latency_full, .def = "0",
              .doc = "The same when the limit is nearly used up; 0: no difference.")},
    {.name = "block_after",
     CONF_ROW(U64, struct wind_provider_conf, block_after, .def = "0", .max = WIND_EXCESS_MAX,
              .doc =
                  "Messages over a limit within block_window that bring a block; 0: none does.")},
    {.name = "block_window",
     CONF_ROW(DURATION, struct wind_provider_conf, block_window, .def = "10m", .min = NS_PER_S,
              .doc = "See block_after.")},
    {.name = "block_for",
     CONF_ROW(DURATION, struct wind_provider_conf, block_for, .def = "1h", .min = NS_PER_S,
              .doc = "How long a block lasts.")},
    {.name = "block_costs",
     CONF_ROW(U64, struct wind_provider_conf, block_costs, .def = "20", .max = 99,
              .doc = "Percent of the trust that a block costs.")},
    {.name = "block_heals",
     CONF_ROW(DURATION, struct wind_provider_conf, block_heals, .def = "12h", .min = NS_PER_S,
              .doc = "Time after which 63 % of that trust is back.")},
    {.name = "noise",
     CONF_ROW(U64, struct wind_provider_conf, noise, .def = "0", .max = 500,
              .doc = "Per mille of messages that are put off for reasons of their own, such as "
                     "greylisting.")},
    {.name = "noise_wait",
     CONF_ROW(DURATION, struct wind_provider_conf, noise_wait, .def = "5m",
              .doc = "How long those are put off.")},
    {.name = "bad",
     CONF_ROW(U64, struct wind_provider_conf, bad, .def = "0", .max = 500,
              .doc = "Per mille of recipients that do not exist.")},
    {.name = "outages",
     CONF_ROW(DURATIONS, struct wind_provider_conf, outages,
              .doc = "Times in pairs, when an outage begins and how long it lasts: `2h, 30m`.")},
    {.name = "dips",
     CONF_ROW(DURATIONS, struct wind_provider_conf, dips,
              .doc = "Times of lower limits, in pairs like `outages`.")},
    {.name = "dip_to",
     CONF_ROW(U64, struct wind_provider_conf, dip_to, .def = "50", .min = 1, .max = 100,
              .doc = "Percent of rate, burst and sessions that are left in `dips`.")},
    {.name = "like",
     CONF_ROW(WORD, struct wind_provider_conf, like, .def = "default", .words = wind_like_words,
              .doc = "Whose fixed limits the law \"fixed\" uses here.")},
};

static void
provider_check(const struct conf_section *s, struct conf_errors *errs)
{
    const struct wind_provider_conf *p = s->data;

    if (p->outages.n % 2)
        conf_fail_row(errs, s, "outages",
                      "outages come in pairs: when it begins, how long it lasts (`2h, 30m`)");
    if (p->dips.n % 2)
        conf_fail_row(errs, s, "dips",
                      "dips come in pairs: when it begins, how long it lasts (`1h, 2h`)");
    if (!p->rate.count)
        conf_fail_row(errs, s, "rate", "a provider without a limit is no scenario: give `rate`");
}

static const struct conf_block provider_block = {
    .name = "provider",
    .labelled = true,
    .size = sizeof(struct wind_provider_conf),
    .rows = provider_rows,
    .nrows = ARRAY_LEN(provider_rows),
    .doc = "A mailbox provider as it is inside, which no sender can see.",
    .check = provider_check,
};
const struct conf_block *const wind_blocks[] = {&main_block, &provider_block};
const size_t wind_nblocks = ARRAY_LEN(wind_blocks);

struct conf *
wind_scenario_load(const char *file, struct conf_errors *errs)
{
    struct conf_texts texts = {0};
    struct conf *conf = NULL;

    conf_load(&texts, file, errs);
    if (!errs->n)
        conf_parse(&conf, &texts, wind_blocks, wind_nblocks, 1, errs);
    if (conf && !conf_first(conf, "provider")) {
        conf_fail(errs, str_c(file), 1, "a scenario needs at least one block provider");
        conf_free(conf);
        conf = NULL;
    }
    conf_texts_done(&texts);
    return conf;
}

uint64_t
wind_scenario_share(const struct conf *conf, const struct conf_section *provider)
{
    const struct wind_main *m = conf_get(conf, "scenario");
    const struct wind_provider_conf *own = provider->data;
    uint64_t all = 0;

    for (const struct conf_section *s = conf_first(conf, "provider"); s; s = conf_next(s))
        all += ((const struct wind_provider_conf *)s->data)->share;
    return MAX(m->messages * own->share / MAX(all, (uint64_t)1) / MAX(m->sources, (uint64_t)1),
               (uint64_t)1);
}
