/*
 * tests/unit/test_courier_reread.c - what was decided in one life of the courier means the same in
 * the next: released, removed, copied mail, and epochs that could not be read to their end.
 */
#include "courier/outs.h"
#include "courier_rig.h"

#define BODY  "From: a@test.example\r\nSubject: hello\r\n\r\nOne line.\r\n"
#define ROUTE "route all {\n domains = *\n via = smtp://127.0.0.1:PORT\n tls = never\n}\n"
#define SOON  "delivery {\n retry = 1m\n retry_max = 10m\n jitter_percent = 0\n expire = 1h\n"

static struct rig rig;
static char ended[1024];

static unsigned
waiting(void)
{
    return rig.courier->index.rows.count;
}

static uint64_t
in_state(enum row_state s)
{
    return rig.courier->index.count[s];
}

static void
pass(uint64_t seconds)
{
    clock_advance(seconds * NS_PER_S);
    rig_settle(&rig, 5);
}

static void
own_clock(void)
{
    clock_own(UINT64_C(1000) * NS_PER_S, UINT64_C(1790000000) * NS_PER_S);
}

static void
said_end(void *ctx, int code, const char *text)
{
    (void)ctx;
    (void)code;
    str_copy(str_c(text), ended, sizeof ended);
}

static void
said_line(void *ctx, struct str json)
{
    (void)ctx;
    (void)json;
}

static void
verb(const char *name, const char *args)
{
    static const struct courier_reply reply = {.line = said_line, .end = said_end};

    ended[0] = '\0';
    OK(courier_verb(rig.courier, str_c(name), str_c(args), &reply), "%s %s", name, args);
    RIG_FOR(&rig, ended[0] != '\0');
}

static void
next_courier(void)
{
    rig_crash(&rig);
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream of ours");
    OK(rig_courier(&rig, true), "the next courier");
}

/* Mail that was set aside and released is mail again, also for the courier that reads of it. */
static void
test_aside_released(void)
{
    struct spool_envelope stranger = {.flags = SPOOL_MAIL_INBOUND, .class = SPOOL_CLASS_INSIDE};

    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    rig.rcpt = "550 5.1.1 no such user\r\n";
    rig_post(&rig, "x@stranger.example", "b@far.example", &stranger, BODY);
    RIG_FOR(&rig, rig.asides == 1 && in_state(ROW_WAITING) == 1);
    rig.rcpt = "451 4.7.1 come back later\r\n";
    verb("queue.release", "{\"all\":true}");
    RIG_FOR(&rig, rig.transients == 1 && in_state(ROW_WAITING) == 1);
    rig_settle(&rig, 20);
    next_courier();
    RIG_FOR(&rig, rig.courier->recovered && in_state(ROW_WAITING) == 1);
    rig.rcpt = "250 2.1.5 ok\r\n";
    for (int i = 0; i < 20 && waiting() > 0; i++)
        pass(60);
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.messages, 1, "it is tried again and arrives");
    IS(rig.removed, 0, "it is not removed as set aside");
    rig_done(&rig);
    clock_release();
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(void);
    } tests[] = {
        {"aside", test_aside_released},
    };

    for (size_t i = 0; i < ARRAY_LEN(tests); i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
            continue;
        printf("# %s\n", tests[i].name);
        tests[i].fn();
    }
    return tap_done();
}
