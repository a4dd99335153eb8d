/*
 * tests/unit/test_courier_unseen.c - a disk that does not give a segment for a while: its mail
 * waits, all other goes, nothing goes twice, and it is delivered when the disk gives it.
 */
#include "courier_tests.h"

static unsigned restarts;

static void
on_restart(void *ctx)
{
    (void)ctx;
    restarts++;
}

/* A directory in the file's place: it opens, and every read of it fails. */
static void
file_away(uint64_t number, bool away)
{
    char path[128], aside[140];

    str_fmt(path, sizeof path, "%s/seg/%08llu.seg", rig.dir, (unsigned long long)number);
    str_fmt(aside, sizeof aside, "%s.away", path);
    if (away)
        OK(rename(path, aside) == 0 && mkdir(path, 0700) == 0, "%s is away", path);
    else
        OK(rmdir(path) == 0 && rename(aside, path) == 0, "%s is back", path);
}

/* Somebody has it away to mend it, or puts it back. */
static void
file_gone(uint64_t number, bool gone)
{
    char path[128];

    str_fmt(path, sizeof path, "%s/seg/%08llu.seg", rig.dir, (unsigned long long)number);
    if (gone)
        OK(rmdir(path) == 0, "%s is not there", path);
    else
        OK(mkdir(path, 0700) == 0, "%s is there", path);
}

/* Two mails of a gate that died: one is delivered, one waits. Nothing goes back to the spooler. */
static uint64_t
two_mails(void)
{
    uint64_t number;

    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    rig.no_free = true;
    rig_post(&rig, "a@test.example", "done@far.example", NULL, BODY);
    rig_post(&rig, "a@test.example", "later@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.deliveries == 1 && waiting() == 1 && in_state(ROW_WAITING) == 1);
    number = first_file(rig.gate.epoch);
    all_die();
    restarts = 0;
    return number;
}

static unsigned
told(const char *to)
{
    unsigned n = 0;

    for (const char *at = rig.seen; (at = strstr(at, to)) != NULL; at++)
        n++;
    return n;
}

static void
courier_starts(void)
{
    OK(rig_courier(&rig, true), "a courier");
    rig.courier->links.restart = on_restart;
}

static void
test_header(void)
{
    uint64_t number = two_mails();

    file_away(number, true);
    rig.attach_first = true;
    courier_starts();
    for (int i = 0; i < 20 && !rig.courier->recovered; i++)
        pass(1);
    OK(rig.courier->recovered, "the start ends, after some more looks");
    IS(rig.alarms, 1, "and an Alarm says what waits");
    rig_post(&rig, "a@test.example", "new@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 2 && waiting() == 0);
    for (int i = 0; i < 100; i++)
        pass(10);
    IS(restarts, 0, "it cannot be read yet");
    IS(rig.messages, 2, "nothing else goes");
    IS(rig.alarms, 1, "and it was told once");
    file_gone(number, true);
    for (int i = 0; i < 40; i++)
        pass(10);
    IS(restarts, 0, "nor while somebody has it away to mend it");
    file_gone(number, false);
    file_away(number, false);
    for (int i = 0; i < 40 && restarts == 0; i++)
        pass(10);
    IS(restarts, 1, "it can be read: a start is asked for");
    IS(rig.messages, 2, "by which it is delivered, in order");
    rig.attach_first = false;
    next_courier();
    pass(100);
    RIG_FOR(&rig, told("later@") == 2);
    IS(told("done@"), 1, "what had gone is not sent again");
    IS(told("new@"), 1, "nor what went meanwhile");
    rig_done(&rig);
    clock_release();
}

static void
chunk_out(struct rig_mail *m, uint8_t type, struct str body)
{
    m->done = false;
    m->piece = (struct iovec){(void *)(uintptr_t)body.p, body.n};
    m->out = (struct spool_out){.type = type,
                                .seq = spool_writer_seq(rig.gate.writer),
                                .payload = buf_view(&m->payload),
                                .body = body.n ? &m->piece : NULL,
                                .nbody = body.n > 0,
                                .done = mail_done};
    IS(spool_writer_add(rig.gate.writer, &m->out), 0, "on its way");
    RIG_FOR(&rig, m->done && m->status == 0);
}

/* A mail in pieces, whose message stands in another segment than they do. */
static void
post_large(const char *to, const char *between)
{
    struct rig_mail m = {0};
    struct spool_rcpt rcpt = {.address = str_c(to)};
    struct spool_envelope env = {.sender = STR("a@test.example"),
                                 .received = clock_wall(),
                                 .class = SPOOL_CLASS_TRANSACTIONAL,
                                 .flags = SPOOL_MAIL_SUBMITTED | SPOOL_MAIL_CHUNKED,
                                 .tenant = 1,
                                 .nrcpt = 1,
                                 .nchunks = 1};
    struct spool_chunk chunk;

    buf_init(&m.payload, 1u << 20);
    chunk_out(&m, SPOOL_CHUNK, STR(BODY));
    chunk = (struct spool_chunk){m.out.body_loc, m.out.body_len, m.out.body_crc, m.out.generation};
    for (int i = 0; i < 25; i++)
        rig_post(&rig, "a@test.example", "filler@far.example", NULL, between);
    RIG_FOR(&rig, rig.messages == 25 && waiting() == 0);
    rig.rcpt = "452 4.2.2 not now\r\n";
    env.size = m.out.body_len;
    spool_envelope_encode(&m.payload, &env, &rcpt, &chunk);
    chunk_out(&m, SPOOL_MESSAGE, STR_NONE);
    buf_done(&m.payload);
}

/* The file with a message of which the pieces lie elsewhere: they stay until it is read. */
static void
test_pieces(void)
{
    char *big = big_body();
    struct spool_listing all;
    uint64_t number = 0, pieces;

    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    post_large("large@far.example", big);
    RIG_FOR(&rig, waiting() == 1 && in_state(ROW_WAITING) == 1);
    rig.rcpt = "250 2.1.5 ok\r\n";
    pieces = first_file(rig.gate.epoch);
    IS(spool_list(rig.dir, NULL, &all, NULL), 0, "listed");
    for (size_t i = 0; i < all.n; i++)
        if (all.items[i].epoch == rig.gate.epoch && all.items[i].seq == 1)
            number = all.items[i].number;
    spool_listing_done(&all);
    OK(number && pieces && number != pieces, "two files");
    all_die();
    file_away(number, true);
    rig.attach_first = true;
    courier_starts();
    for (int i = 0; i < 20 && !rig.courier->recovered; i++)
        pass(1);
    OK(rig.courier->recovered, "the start goes on without it");
    for (int i = 0; i < 30; i++)
        pass(10);
    IS(first_file(1), pieces, "the pieces are still there");
    file_away(number, false);
    for (int i = 0; i < 40 && restarts == 0; i++)
        pass(10);
    rig.attach_first = false;
    next_courier();
    pass(400);
    RIG_FOR(&rig, rig.messages == 26 && waiting() == 0);
    OK(strstr(rig.last_body, "One line.") != NULL, "all of it is delivered");
    IS(rig.alarms, 1, "and nothing was amiss but the file");
    free(big);
    rig_done(&rig);
    clock_release();
}

/* It passes while the start waits for it. */
static void
test_header_soon(void)
{
    uint64_t number = two_mails();

    file_away(number, true);
    rig.attach_first = true;
    courier_starts();
    pass(1);
    OK(!rig.courier->opened, "delivery is not open yet");
    file_gone(number, true);
    pass(2);
    OK(!rig.courier->opened, "nor while somebody has it away to mend it");
    file_gone(number, false);
    file_away(number, false);
    pass(4);
    RIG_FOR(&rig, rig.courier->recovered);
    IS(rig.alarms, 0, "nobody is woken");
    pass(100);
    RIG_FOR(&rig, told("later@") == 2);
    IS(told("done@"), 1, "what had gone is not sent again");
    IS(restarts, 0, "and no further start is needed");
    rig_done(&rig);
    clock_release();
}

/* What we wrote of mail is in a file that comes later: nothing of it is lost. */
static void
test_own_header(void)
{
    uint64_t number;

    two_mails();
    number = first_file(2);
    file_away(number, true);
    rig.attach_first = true;
    rig.rcpt = "452 4.2.2 not now\r\n";
    courier_starts();
    for (int i = 0; i < 20 && !rig.courier->recovered; i++)
        pass(1);
    OK(rig.courier->recovered, "it goes on");
    IS(rig.alarms, 1, "with an Alarm");
    file_away(number, false);
    for (int i = 0; i < 40 && restarts == 0; i++)
        pass(10);
    IS(restarts, 1, "a start is asked for");
    rig.attach_first = false;
    rig.rcpt = "250 2.1.5 ok\r\n";
    memset(rig.seen, 0, sizeof rig.seen);
    next_courier();
    pass(100);
    RIG_FOR(&rig, told("later@") >= 1);
    IS(told("done@"), 0, "what was said before is known again");
    rig_done(&rig);
    clock_release();
}

/* The header was read, what is behind it is not: read on where it stands. */
static void
test_inside(void)
{
    uint64_t number = two_mails();

    rig.attach_first = true;
    courier_starts();
    file_away(number, true);
    for (int i = 0; i < 20 && !rig.courier->recovered; i++)
        rig_turn(&rig);
    OK(rig.courier->recovered, "all else is read");
    IS(rig.alarms, 1, "an Alarm says what waits");
    rig_post(&rig, "a@test.example", "new@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 2);
    IS(verb("queue.list", "{}"), 1, "the queue can be listed, and is not all there is");
    OK(strstr(ended, "not all of the log can be read"), "%s", ended);
    verb("queue.hold", "{\"domain\":\"nowhere.example\",\"reason\":\"test\"}");
    OK(strstr(ended, "not all of the log can be read"), "nor is a change of all: %s", ended);
    IS(verb("explain", "{\"recipient\":\"new@far.example\"}"), 1, "explain tells what there is");
    OK(strstr(said, "new@far.example") && strstr(ended, "does not give all"), "%s", ended);
    for (int i = 0; i < 100; i++)
        pass(10);
    IS(rig.alarms, 1, "told once");
    file_gone(number, true);
    for (int i = 0; i < 40; i++)
        pass(10);
    IS(rig.alarms, 1, "not even if somebody has it away to mend it");
    file_gone(number, false);
    file_away(number, false);
    for (int i = 0; i < 40 && told("later@") < 2; i++)
        pass(10);
    pass(100);
    RIG_FOR(&rig, told("later@") >= 2);
    IS(told("done@"), 1, "what had gone is not sent again");
    IS(restarts, 0, "without a start");
    IS(rig.courier->unread, 0, "nothing waits to be read");
    IS(verb("queue.list", "{}"), 0, "and a listing is whole again");
    rig_done(&rig);
    clock_release();
}

/* The same in what we wrote: nothing goes before it is known what has gone. */
static void
test_own_inside(void)
{
    uint64_t number;

    two_mails();
    number = first_file(2);
    rig.attach_first = true;
    courier_starts();
    file_away(number, true);
    for (int i = 0; i < 100; i++)
        pass(10);
    OK(!rig.courier->opened, "delivery waits");
    IS(rig.alarms, 1, "with an Alarm");
    IS(rig.messages, 1, "nothing goes");
    file_away(number, false);
    for (int i = 0; i < 40 && !rig.courier->recovered; i++)
        pass(10);
    OK(rig.courier->recovered, "it opens by itself");
    pass(100);
    RIG_FOR(&rig, told("later@") >= 2);
    IS(told("done@"), 1, "what had gone is not sent again");
    rig_done(&rig);
    clock_release();
}

/* What a gate that nobody followed left, and the stream of one that lives. */
static void
test_streams(void)
{
    uint64_t missed, number;

    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    rig.no_free = true;
    rig_stream_close(&rig.gate);
    OK(rig_stream_open(&rig, &rig.gate, SPOOL_STREAM_GATE * 256), "a gate that nobody follows");
    rig_post(&rig, "a@test.example", "missed@far.example", NULL, BODY);
    missed = first_file(rig.gate.epoch);
    rig_stream_close(&rig.gate);
    OK(rig_stream_open(&rig, &rig.gate, SPOOL_STREAM_GATE * 256), "the next one");
    rig_post(&rig, "a@test.example", "first@far.example", NULL, BODY);
    number = first_file(rig.gate.epoch);
    IS(rig_follow(&rig.gate), 0, "is followed");
    file_away(missed, true);
    file_away(number, true);
    rig_settle(&rig, 20);
    OK(rig.alarms == 2 && rig.messages == 0, "neither can be read, and both are told of");
    file_gone(number, true);
    file_gone(missed, true);
    for (int i = 0; i < 40; i++)
        pass(10);
    OK(rig.alarms == 2 && rig.messages == 0, "nor while they are not there");
    file_gone(number, false);
    file_gone(missed, false);
    file_away(number, false);
    for (int i = 0; i < 40 && told("first@") == 0; i++)
        pass(10);
    rig_post(&rig, "a@test.example", "second@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 2);
    IS(told("first@") + told("second@"), 2, "the stream goes on, each once");
    file_away(missed, false);
    for (int i = 0; i < 40 && told("missed@") == 0; i++)
        pass(10);
    RIG_FOR(&rig, rig.messages == 3);
    IS(told("missed@"), 1, "and so does what was missed");
    IS(rig.alarms, 2, "told once each");
    IS(rig.courier->unread, 0, "nothing waits to be read");
    rig_done(&rig);
    clock_release();
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"header", test_header},   {"pieces", test_pieces}, {"soon", test_header_soon},
        {"own", test_own_header},  {"inside", test_inside}, {"own-inside", test_own_inside},
        {"streams", test_streams},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
