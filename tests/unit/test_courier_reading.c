/*
 * tests/unit/test_courier_reading.c - mail that brings reports and a reader that does not answer,
 * or ends: nothing is lost, and no mail keeps the reader from the others.
 */
#include "courier_tests.h"
#include "store/settings_reports.h"

#define HOURS                                                                                      \
    ROUTE "delivery {\n retry = 1h\n retry_max = 4h\n jitter_percent = 0\n expire = 5h\n"          \
          " expire_dsn = 5h\n}\n"

static struct {
    struct chan *courier, *end;
    unsigned asked;
    uint64_t id;
    char mail[SPOOL_ID_TEXT]; /* that was asked about last */
} reader;

static void
reader_asked(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx;
    fd_close(&fd);
    IS(type, ASK_READ, "asked");
    str_copy(wire_str(body), reader.mail, sizeof reader.mail);
    wire_skip(body, wire_left(body));
    reader.id = id;
    reader.asked++;
}
static void
reader_answered(void *ctx, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    (void)ctx;
    fd_close(&fd);
    if (!courier_message(rig.courier, reader.courier, type, id, body))
        wire_skip(body, wire_left(body));
}

static void
begin(const char *conf)
{
    static const struct chan_ops courier_ops = {reader_answered, chan_gone},
                                 reader_ops = {reader_asked, chan_gone};
    int pair[2];

    own_clock();
    rig_init(&rig, conf);
    memset(&reader, 0, sizeof reader);
    chan_pair(pair);
    reader.courier = chan_create(rig.loop, pair[0], &courier_ops, NULL);
    reader.end = chan_create(rig.loop, pair[1], &reader_ops, NULL);
    rig.courier->links.scan = reader.courier;
}

static void
end(void)
{
    chan_free(reader.courier);
    chan_free(reader.end);
    rig_done(&rig);
    clock_release();
}

static void
answer(enum read_said as, const char *text)
{
    struct buf b;

    buf_init(&b, 1000);
    put_u8(&b, (uint8_t)as);
    put_str(&b, str_c(text));
    chan_send(reader.end, ASK_READ_ANSWER, reader.id, &b, -1);
    buf_done(&b);
}

/* notify: what the gate says of it; with NEVER the mail goes elsewhere too. */
static void
post(const char *sender, uint8_t notify)
{
    struct spool_envelope env = {
        .flags = SPOOL_MAIL_INBOUND, .class = SPOOL_CLASS_INSIDE, .tenant = 1, .nrcpt = notify};

    rig.via = REPORTS_VIA;
    rig_post(&rig, sender, "dmarc@test.example", &env, BODY);
    rig.via = NULL;
}

/* Time passes in steps until it is over with the mail, at most 20 hours. */
static void
until_over(void)
{
    for (unsigned i = 0; i < 120 && rig.expirations == 0; i++) {
        pass(600);
        rig_settle(&rig, 20);
    }
    IS(rig.expirations, 1, "its time is over");
}

/* The null sender can be told nothing: what is nowhere else is kept. */
static void
test_expires(void)
{
    begin(HOURS);
    post("", 0);
    RIG_FOR(&rig, reader.asked == 1);
    until_over();
    OK(reader.asked > 1, "it was tried again");
    RIG_FOR(&rig, rig.asides == 1);
    IS(waiting(), 1, "it is still there");
    IS(in_state(ROW_WAITING), 1, "set aside");
    for (unsigned i = 0; i < 40 && waiting(); i++)
        pass(600);
    IS(rig.removed, 1, "for the time of delivery");
    end();
}

/* One that goes to its mailbox too is settled, and so is its sender not told. */
static void
test_expires_elsewhere(void)
{
    begin(HOURS);
    post("reports@far.example", SPOOL_NOTIFY_NEVER);
    RIG_FOR(&rig, reader.asked == 1);
    until_over();
    RIG_FOR(&rig, waiting() == 0);
    OK(rig.asides == 0 && rig.messages == 0, "and nobody is told");
    end();
}

/* Others are not asked about behind it, where their own time would pass. */
static void
test_busy(void)
{
    begin(HOURS);
    post("", 0);
    RIG_FOR(&rig, reader.asked == 1);
    pass(125);
    RIG_FOR(&rig, rig.transients == 1);
    post("", 0);
    pass(5);
    rig_settle(&rig, 30);
    IS(reader.asked, 1, "the reader has the first still");
    IS(verb("queue.list", "{}"), 0, "%s", ended);
    OK(strstr(said, "busy with a mail"), "which is said: %s", said);
    answer(READ_NONE, "no report");
    pass(2);
    RIG_FOR(&rig, reader.asked == 2);
    answer(READ_KEPT, "kept");
    RIG_FOR(&rig, rig.deliveries == 1);
    RIG_FOR(&rig, waiting() == 1); /* the first is tried again later */
    end();
}

/* A mail that ends the reader each time is given up. */
static void
test_killer(void)
{
    char killer[SPOOL_ID_TEXT] = "";
    unsigned ends = 0;

    begin(ROUTE SOON "}\n");
    post("", 0);
    RIG_FOR(&rig, reader.asked == 1);
    memcpy(killer, reader.mail, sizeof killer);
    for (unsigned i = 0; i < 5; i++)
        post("", 0);
    for (unsigned at = 0, i = 0; i < 200 && (rig.deliveries < 5 || rig.asides < 1); i++) {
        if (at < reader.asked) {
            at = reader.asked;
            if (strcmp(reader.mail, killer) == 0) {
                ends++;
                courier_scan_lost(rig.courier);
            } else {
                answer(READ_KEPT, "kept");
            }
        }
        pass(20);
        rig_settle(&rig, 5);
    }
    IS(ends, 3, "three readers are enough");
    IS(rig.deliveries, 5, "all others are read");
    IS(rig.asides, 1, "it is set aside");
    IS(rig.alarms, 1, "and said");
    IS(waiting(), 1, "it is still there");
    end();
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"expires", test_expires},
        {"elsewhere", test_expires_elsewhere},
        {"busy", test_busy},
        {"killer", test_killer},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
