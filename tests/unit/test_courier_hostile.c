/*
 * tests/unit/test_courier_hostile.c - a gate that was taken over writes into its own stream what is
 * not its to say: nothing becomes of other mail by that, and an Alarm tells of it once.
 */
#include "courier_tests.h"

#define DEAD ROUTE "delivery {\n retry = 1h\n retry_max = 4h\n jitter_percent = 0\n}\n"

/* A record of any type, by the gate. */
static void
gate_says(uint8_t type, const struct buf *payload)
{
    struct rig_mail *m = calloc(1, sizeof *m);

    m->out = (struct spool_out){.type = type, .payload = buf_view(payload), .done = mail_done};
    OK(spool_writer_add(rig.gate.writer, &m->out) == 0, "a record of type %u", type);
    RIG_FOR(&rig, m->done);
    free(m);
}

static struct spool_id
first_id(void)
{
    const struct index_message *m = index_message(&rig.courier->index, 0);

    return (struct spool_id){rig.courier->links.node, m->epoch, m->seq};
}

static void
say_all(struct spool_id id)
{
    struct spool_outcome o = {.id = id, .result = SPOOL_DELIVERED, .wall = clock_wall()};
    struct spool_scope purge = {.scope = id,
                                .verb = SPOOL_PURGE,
                                .made = clock_wall(),
                                .ceiling = {id.node, UINT32_MAX, UINT64_MAX}};
    struct spool_void none = {.epoch = id.epoch - 1, .first = 0, .last = 1000};
    struct buf b CLEANUP(buf_done);

    buf_init(&b, 64 << 10);
    spool_outcome_encode(&b, &o, NULL);
    gate_says(SPOOL_OUTCOME, &b);
    buf_clear(&b);
    spool_scope_encode(&b, &purge);
    gate_says(SPOOL_SCOPE, &b);
    buf_clear(&b);
    spool_void_encode(&b, &none);
    gate_says(SPOOL_VOID, &b);
}

static void
test_outcomes(void)
{
    rig_init(&rig, DEAD);
    rig.rcpt = "450 4.2.1 later\r\n";
    rig_post(&rig, "a@test.example", "b@test.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    say_all(first_id());
    rig_post(&rig, "a@test.example", "c@test.example", NULL, BODY);
    RIG_FOR(&rig, waiting() == 2);
    IS(rig.alarms, 1, "told once");
    rig_settle(&rig, 50);
    IS(waiting(), 2, "all mail is there");
    IS(rig.removed, 0, "nothing was removed");
    rig_done(&rig);
}

/* The same from disk, by the next courier. */
static void
test_outcomes_read_again(void)
{
    rig_init(&rig, DEAD);
    rig.rcpt = "450 4.2.1 later\r\n";
    rig_post(&rig, "a@test.example", "b@test.example", NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 1);
    say_all(first_id());
    rig_crash(&rig);
    rig_stream_close(&rig.gate);
    rig.gate.writer = NULL;
    rig.alarms = 0;
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a stream for the next");
    OK(rig_courier(&rig, false), "a courier that reads it all");
    RIG_FOR(&rig, waiting() == 1);
    IS(rig.alarms, 1, "told once");
    rig_done(&rig);
}

/* What it hands over for its stream says that it is the courier's. */
static void
test_share_of_another(void)
{
    struct spool_share share;

    rig_init(&rig, ROUTE);
    OK(spool_share_create(&share, 1, SPOOL_STREAM_COURIER * 256, 4711, 1 << 20) == 0, "a share");
    IS(courier_attach(rig.courier, SPOOL_STREAM_GATE * 256, 4711,
                      fcntl(share.fd, F_DUPFD_CLOEXEC, 0),
                      fcntl(share.wake_fd, F_DUPFD_CLOEXEC, 0)),
       ERR_CORRUPT, "not followed");
    spool_share_done(&share);
    rig_done(&rig);
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"outcomes", test_outcomes},
        {"again", test_outcomes_read_again},
        {"share", test_share_of_another},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
