/*
 * tests/unit/test_courier_recover.c - the start in slices: what was said of mail is known before
 * any of it goes, mail goes before all of it is read, and nothing goes twice.
 */
#include "courier/recover.h"

#include "courier_tests.h"

/* --- notes --- */

static unsigned dropped;

static void
count_dropped(void *ctx, uint32_t own)
{
    (void)ctx;
    (void)own;
    dropped++;
}

static uint32_t
draw(uint32_t below)
{
    static uint64_t state = 42;

    state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

/* The last word on each recipient survives whatever was dropped before it. */
static void
test_notes(void)
{
    enum { MESSAGES = 500, RCPTS = 3, NOTES = 20000 };
    static const uint8_t results[] = {SPOOL_RETRY, SPOOL_DELIVERED, SPOOL_UNKNOWN, SPOOL_FAILED};
    static struct early_note last[MESSAGES][RCPTS];
    static bool settled[MESSAGES][RCPTS];
    struct early e;
    unsigned wrong = 0, found = 0;
    size_t n;

    early_init(&e, count_dropped, NULL);
    OK(early_find(&e, 7, 1, &n) == NULL && n == 0, "nothing is known of anything");
    for (uint32_t i = 0; i < NOTES; i++) {
        uint32_t m = draw(MESSAGES), o = draw(RCPTS);
        struct early_note note = {.seq = m + 1, .ordinal = o, .own = 1, .due = i};
        if (settled[m][o])
            continue;
        note.kind = draw(3) == 0 ? EARLY_INTENT : EARLY_OUTCOME;
        note.result = results[draw(4)] & 15u;
        settled[m][o] = note.kind == EARLY_OUTCOME && spool_result_settles(note.result);
        last[m][o] = note;
        found++;
        if (early_add(&e, 7, &note) < 0)
            wrong++;
    }
    for (uint32_t i = 0; i < 2 * MESSAGES; i++) {
        uint32_t m = i < MESSAGES ? i : draw(MESSAGES); /* in order, then at random */
        const struct early_note *notes = early_find(&e, 7, m + 1, &n), *of[RCPTS] = {0};
        for (size_t k = 0; k < n; k++) {
            wrong += of[notes[k].ordinal] && of[notes[k].ordinal]->due > notes[k].due;
            of[notes[k].ordinal] = &notes[k];
        }
        for (uint32_t o = 0; o < RCPTS; o++)
            wrong += of[o] ? of[o]->due != last[m][o].due : last[m][o].seq != 0;
        for (size_t k = 0; k < n; k++)
            wrong += settled[m][notes[k].ordinal] && of[notes[k].ordinal] != &notes[k];
    }
    IS(wrong, 0, "for each recipient the last word, in order, and nothing before a settled one");
    OK(early_count(&e) < found && early_count(&e) + dropped == found,
       "%zu notes kept, %u dropped, of %u", early_count(&e), dropped, found);
    OK(early_find(&e, 8, 1, &n) == NULL, "another epoch is another one");
    early_drop(&e, 7);
    IS(dropped, found, "each is let go once");
    IS(early_count(&e), 0, "none is left");
    early_done(&e);
}

/* A copy and words on all recipients keep their order. */
static void
test_notes_all(void)
{
    struct early_note note = {.seq = 5, .own = 1};
    const struct early_note *notes;
    struct early e;
    size_t n;

    early_init(&e, count_dropped, NULL);
    for (uint32_t i = 0; i < 6; i++) {
        note.ordinal = i == 3 ? EARLY_ALL : 9 - i;
        note.kind = EARLY_OUTCOME;
        note.result = SPOOL_RETRY;
        note.due = i;
        OK(early_add(&e, 7, &note) == 0, "note %u", i);
    }
    notes = early_find(&e, 7, 5, &n);
    IS(n, 6, "all of them");
    for (size_t i = 0; i < n; i++)
        IS(notes[i].due, i, "in the order they were made");
    early_done(&e);
}

/* --- starts --- */

static void
conf_is(const char *text)
{
    conf_free(rig.conf);
    rig.conf = rig_conf(&rig, text);
}

/* What a script would take for the whole queue, or for a change of all of it, while the log is
 * read. */
static void
listings_fail(void)
{
    static const char *const asked[][2] = {
        {"queue.list", "{\"domain\":\"nowhere.example\"}"},
        {"queue.list", "{}"},
        {"queue.summary", "{}"},
        {"suspensions", "{}"},
        {"queue.retry", "{\"domain\":\"nowhere.example\"}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        OK(verb(asked[i][0], asked[i][1]) == 1 && strstr(ended, "reading the log"), "%s: %s",
           asked[i][0], ended);
    }
    IS(verb("top.courier", "{}"), 0, "top shows what there is");
}

/* Mail of the first slice arrives while the rest is still to be read; what was settled, held or
 * removed before the crash stays so, wherever its message lies. */
static void
test_slices(void)
{
    enum { N = 60 };
    char *big = big_body(), to[64];
    unsigned reading = 0;
    size_t done = 0, of = 0;

    rig_init(&rig, ROUTE "delivery {\n hold = yes\n}\n");
    for (int i = 0; i < N; i++) {
        str_fmt(to, sizeof to, "u%d@d%d.example", i, i % 7);
        rig_post(&rig, "a@test.example", to, NULL, big);
    }
    RIG_FOR(&rig, waiting() == N);
    verb("queue.remove", "{\"recipient\":\"u3@d3.example\",\"reason\":\"test\"}");
    verb("queue.remove", "{\"recipient\":\"u59@d3.example\",\"reason\":\"test\"}");
    verb("queue.hold", "{\"recipient\":\"u58@d2.example\",\"reason\":\"look first\"}");
    verb("suspend", "{\"domain\":\"d0.example\",\"reason\":\"they move\"}");
    RIG_FOR(&rig, waiting() == N - 2 && outs_open(rig.courier) == 0);
    for (int twice = 0; twice < 2; twice++) { /* the second start reads what the first one wrote */
        all_die();
        conf_is(twice ? ROUTE : ROUTE "delivery {\n hold = yes\n}\n");
        rig.recover_steps = 1;
        rig.attach_first = twice;
        OK(rig_courier(&rig, true), "a courier");
        if (!twice)
            continue;
        OK(!rig.courier->opened && recover_progress(rig.courier, &done, &of) && of >= 4,
           "%zu segments are to be read", of);
        for (unsigned i = 0; i < 15000 && !rig.courier->recovered; i++) {
            rig_turn(&rig);
            if (!rig.courier->recovered && rig.messages > 0)
                reading++;
            if (reading == 1)
                listings_fail();
        }
        OK(reading > 0, "mail arrived in %u turns while others were unread", reading);
    }
    RIG_FOR(&rig, rig.messages >= N - 3 - 9 && waiting() == 10);
    IS(rig.messages, N - 3 - 9,
       "each message once; a held one, nine suspended and two removed not");
    verb("queue.summary", "{}");
    OK(strstr(ended, "reading the log") == NULL, "the index is whole: %s", ended);
    IS(status, 0, "a whole answer");
    IS(early_count(&rig.courier->early), 0, "no note is left");
    verb("resume", "{\"all\":true}");
    RIG_FOR(&rig, waiting() == 1);
    verb("queue.release", "{\"all\":true}");
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.messages, N - 2, "now all of them");
    IS(rig.alarms, 0, "no alarm");
    free(big);
    rig_done(&rig);
}

/* Intents without an outcome, their gate dead as well: unknown once, held the second time. */
static void
test_unknown(void)
{
    rig_init(&rig, ROUTE "delivery {\n retry = 1m\n jitter_percent = 0\n}\n");
    rig.dot = NULL; /* never answers */
    rig_post(&rig, "a@test.example", "b@far.example c@far.example", NULL, BODY);
    for (int crash = 0; crash < 2; crash++) {
        unsigned before = rig.messages;
        RIG_FOR(&rig, rig.messages > before);
        all_die();
        rig.recover_steps = 1;
        OK(rig_courier(&rig, true), "the next courier");
        if (crash == 0) {
            RIG_FOR(&rig, rig.courier->index.count[ROW_WAITING] == 2);
            IS(rig.courier->load.unknown, 2, "unknown, and counted");
            rig_settle(&rig, 20);
            IS(rig.messages, 1, "not sent again at once");
            verb("queue.retry", "{\"all\":true}");
        }
    }
    RIG_FOR(&rig, rig.courier->index.count[ROW_HELD] == 2);
    IS(rig.messages, 2, "and no third time");
    rig_done(&rig);
}

/* A gate that is followed, then replaced before delivery opens: its mail waits for what was said.
 */
static void
test_gate_replaced(void)
{
    struct rig_stream second = {0};

    rig_init(&rig, ROUTE);
    for (int i = 0; i < 5; i++)
        rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.messages, 5, "all delivered");
    rig_crash(&rig);
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream of ours");
    rig.recover_steps = 1;
    rig.attach_first = true;
    OK(rig_courier(&rig, true), "a courier, its gate lives");
    OK(rig_stream_open(&rig, &second, SPOOL_STREAM_GATE * 256), "a second gate");
    OK(!rig.courier->opened, "delivery is not open");
    IS(rig_follow(&second), 0, "is followed now");
    RIG_FOR(&rig, rig.courier->recovered);
    rig_stream_close(&rig.gate);
    rig.gate = second;
    rig_settle(&rig, 50);
    IS(rig.messages, 5, "nothing was sent twice");
    IS(waiting(), 0, "nothing waits");
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 6);
    rig.gate = (struct rig_stream){0};
    rig_crash(&rig);
    rig_stream_close(&second);
    rig_done(&rig);
}

/* A gate came and went, and its word never reached us: what it left is read in slices when the next
 * one is followed, and given back only when it was read whole. */
static void
test_gate_missed(void)
{
    enum { N = 60 };
    struct rig_stream second = {0}, third = {0};
    char *big = big_body();
    unsigned turns = 0, freed;
    size_t done, of;

    rig_init(&rig, ROUTE);
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 1 && waiting() == 0);
    rig.courier->recover_steps = 1;
    OK(rig_stream_open(&rig, &second, SPOOL_STREAM_GATE * 256), "a second gate");
    rig_stream_close(&rig.gate);
    rig.gate = second;
    for (int i = 0; i < N; i++)
        rig_post(&rig, "a@test.example", "b@far.example", NULL, big);
    rig_stream_close(&rig.gate);
    OK(rig_stream_open(&rig, &third, SPOOL_STREAM_GATE * 256), "a third gate");
    freed = rig.freed;
    IS(rig_follow(&third), 0, "is followed");
    IS(waiting(), 0, "joining it reads nothing");
    while (waiting() == 0 && rig.messages == 1 && turns++ < 15000)
        rig_turn(&rig);
    OK(recover_progress(rig.courier, &done, &of), "what was missed is being read");
    OK(verb("queue.list", "{}") == 1 && strstr(ended, "reading the log"), "and said: %s", ended);
    OK(rig.freed <= freed + 2, "nothing goes back before but what the first gate had");
    RIG_FOR(&rig, rig.messages == N + 1 && waiting() == 0);
    RIG_FOR(&rig, !recover_progress(rig.courier, &done, &of));
    rig.gate = third;
    rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == N + 2);
    RIG_FOR(&rig, rig.freed >= freed + 3);
    IS(rig.alarms, 0, "no alarm");
    rig.gate = (struct rig_stream){0};
    rig_crash(&rig);
    rig_stream_close(&third);
    rig_done(&rig);
    free(big);
}

static unsigned
segments_of(uint32_t epoch)
{
    struct spool_listing all;
    unsigned n = 0;

    OK(spool_list(rig.dir, NULL, &all, NULL) == 0, "the segments");
    for (size_t i = 0; i < all.n; i++)
        n += all.items[i].epoch == epoch;
    spool_listing_done(&all);
    return n;
}

/* The same of a gate that wrote nothing: what it was handed goes back. */
static void
test_missed_unwritten(void)
{
    struct rig_stream second = {0}, third = {0};

    rig_init(&rig, ROUTE);
    OK(rig_stream_open(&rig, &second, SPOOL_STREAM_GATE * 256), "a second gate");
    rig_stream_close(&rig.gate);
    OK(segments_of(second.epoch) > 0, "was handed a segment");
    rig_stream_close(&second);
    OK(rig_stream_open(&rig, &third, SPOOL_STREAM_GATE * 256), "a third gate");
    IS(rig_follow(&third), 0, "is followed");
    rig.gate = third;
    for (int i = 0; i < 200 && segments_of(second.epoch) > 0; i++)
        rig_settle(&rig, 5);
    IS(segments_of(second.epoch), 0, "and has given it back");
    IS(rig.alarms, 0, "no alarm");
    rig.gate = (struct rig_stream){0};
    rig_crash(&rig);
    rig_stream_close(&third);
    rig_done(&rig);
}

/* The courier alone starts again beside a gate that has gone on: what waits in its stream is read
 * in slices, mail goes meanwhile, and answers say that they are not whole. The gate's end beside it
 * is read in slices as well. */
static void
test_tail_slices(void)
{
    enum { N = 60 };
    struct rig_stream second = {0};
    char *big = big_body();
    unsigned reading = 0, told = 0;
    size_t done, of;

    for (int ends = 0; ends < 2; ends++) {
        rig_init(&rig, ROUTE);
        rig_crash(&rig);
        for (int i = 0; i < N; i++)
            rig_post(&rig, "a@test.example", "b@far.example", NULL, big);
        OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream of ours");
        rig.recover_steps = 1;
        rig.attach_first = true;
        OK(rig_courier(&rig, true), "a courier");
        if (ends) {
            OK(rig_stream_open(&rig, &second, SPOOL_STREAM_GATE * 256), "a second gate");
            IS(rig_follow(&second), 0, "is followed");
        }
        for (unsigned i = reading = told = 0; i < 15000 && (rig.messages < N || waiting()); i++) {
            rig_turn(&rig);
            if (!recover_progress(rig.courier, &done, &of) || rig.messages == 0)
                continue;
            if (reading++ == 0)
                told = verb("queue.list", "{}") == 1 && strstr(ended, "reading the log");
        }
        OK(reading > 0, "mail arrived in %u turns while there was more to read", reading);
        IS(told, 1, "and the list says that it is not whole");
        IS(rig.messages, N, "all of it went, once");
        RIG_FOR(&rig, !recover_progress(rig.courier, &done, &of));
        IS(verb("queue.list", "{}"), 0, "now it is whole: %s", ended);
        if (ends) {
            rig_stream_close(&rig.gate);
            rig.gate = (struct rig_stream){0};
            rig_crash(&rig);
            rig_stream_close(&second);
        }
        rig_done(&rig);
    }
    free(big);
}

/* A file of one epoch that cannot be read holds up that epoch alone, and is kept. */
static void
test_unreadable(void)
{
    char path[128], away[140];
    uint64_t number;

    rig_init(&rig, ROUTE "delivery {\n hold = yes\n}\n");
    rig_post(&rig, "a@test.example", "lost@far.example", NULL, BODY);
    RIG_FOR(&rig, waiting() == 1);
    number = first_file(rig.gate.epoch);
    all_die();
    OK(rig_courier(&rig, true), "a courier");
    rig_post(&rig, "a@test.example", "fine@far.example", NULL, BODY);
    all_die();
    conf_is(ROUTE);
    rig.attach_first = true;
    OK(rig_courier(&rig, true), "a courier that has listed the spool");
    str_fmt(path, sizeof path, "%s/seg/%08llu.seg", rig.dir, (unsigned long long)number);
    str_fmt(away, sizeof away, "%s.away", path);
    OK(rename(path, away) == 0 && mkdir(path, 0700) == 0, "%s cannot be read", path);
    RIG_FOR(&rig, rig.courier->recovered);
    RIG_FOR(&rig, rig.messages == 1 && waiting() == 0);
    OK(strstr(rig.last_rcpt, "fine@") != NULL, "the other epoch's mail went");
    IS(rig.alarms, 1, "and an alarm tells");
    rmdir(path);
    OK(rename(away, path) == 0, "the disk is mended");
    all_die();
    rig.attach_first = false;
    OK(rig_courier(&rig, true), "the next start");
    RIG_FOR(&rig, rig.messages == 2 && waiting() == 0);
    OK(strstr(rig.last_rcpt, "lost@") != NULL, "brings what was kept");
    rig_done(&rig);
}

/* The battery of the clock is empty: after a power cut it begins in the past. */
static void
test_clock_back(void)
{
    rig_init(&rig, ROUTE SOON "}\n");
    own_clock();
    next_courier();
    rig_post(&rig, "a@test.example", "later@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.transients == 1 && waiting() == 1);
    rig_settle(&rig, 20);
    clock_own(UINT64_C(1000) * NS_PER_S, UINT64_C(1000000000) * NS_PER_S);
    rig.alarms = 0;
    next_courier();
    RIG_FOR(&rig, waiting() == 1);
    IS(rig.alarms, 1, "the clock is an alarm");
    pass(50);
    IS(rig.transients, 1, "for its minute");
    pass(20);
    RIG_FOR(&rig, rig.transients == 2);
    next_courier();
    IS(rig.alarms, 2, "each time");
    pass(130);
    RIG_FOR(&rig, rig.transients == 3);
    rig_done(&rig);
    clock_release();
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"notes", test_notes},
        {"all", test_notes_all},
        {"slices", test_slices},
        {"unknown", test_unknown},
        {"replaced", test_gate_replaced},
        {"missed", test_gate_missed},
        {"unwritten", test_missed_unwritten},
        {"tails", test_tail_slices},
        {"unreadable", test_unreadable},
        {"clock", test_clock_back},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
