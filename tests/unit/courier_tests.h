/*
 * tests/unit/courier_tests.h - one rig for a whole file of tests of the courier, the words that
 * they share, and their main.
 */
#ifndef GAPURA_COURIER_TESTS_H
#define GAPURA_COURIER_TESTS_H

#include "courier_rig.h"

#ifndef BODY
#define BODY "From: a@test.example\r\nSubject: hello\r\n\r\nOne line.\r\n"
#endif
#define ROUTE "route all {\n domains = *\n via = smtp://127.0.0.1:PORT\n tls = never\n}\n"
#define SOON  "delivery {\n retry = 1m\n retry_max = 10m\n jitter_percent = 0\n expire = 1h\n"

static struct rig rig;
static char said[65536], ended[1024]; /* lines and last word of a verb */
static int status;

static inline unsigned
waiting(void)
{
    return rig.courier->index.rows.count;
}
static inline uint64_t
in_state(enum row_state s)
{
    return rig.courier->index.count[s];
}
/* Moves both clocks; what was due runs in the next turns. */
static inline void
pass(uint64_t seconds)
{
    clock_advance(seconds * NS_PER_S);
    rig_settle(&rig, 5);
}
static inline void
own_clock(void)
{
    clock_own(UINT64_C(1000) * NS_PER_S, UINT64_C(1790000000) * NS_PER_S);
}
static inline void
said_line(void *ctx, struct str json)
{
    (void)ctx;
    str_fmt(said + strlen(said), sizeof said - strlen(said), "%.*s\n", STR_ARG(json));
}
static inline void
said_end(void *ctx, int code, const char *text)
{
    (void)ctx;
    status = code;
    str_copy(str_c(text), ended, sizeof ended);
}
static inline void
verb_begin(const char *name, const char *args)
{
    static const struct courier_reply reply = {.line = said_line, .end = said_end};

    said[0] = ended[0] = '\0';
    status = -1;
    OK(courier_verb(rig.courier, str_c(name), str_c(args), &reply), "%s %s", name, args);
}
static inline int
verb(const char *name, const char *args)
{
    verb_begin(name, args);
    RIG_FOR(&rig, status >= 0);
    return status;
}
static inline void
next_courier(void)
{
    rig_crash(&rig);
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream of ours");
    OK(rig_courier(&rig, true), "the next courier");
}
static inline void
all_die(void)
{
    rig_crash(&rig);
    rig_stream_close(&rig.gate);
    OK(rig_stream_open(&rig, &rig.gate, SPOOL_STREAM_GATE * 256), "a new gate");
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream of ours");
}
static inline int
rig_follow(struct rig_stream *s)
{
    struct spool_share *share = spool_writer_share(s->writer);

    return courier_attach(s->rig->courier, s->stream, s->epoch,
                          fcntl(share->fd, F_DUPFD_CLOEXEC, 0),
                          fcntl(share->wake_fd, F_DUPFD_CLOEXEC, 0));
}
/* 200,000 bytes in lines: a few of them fill a segment. */
static inline char *
big_body(void)
{
    char *big = malloc(200001);

    memset(big, 'y', 200000);
    big[200000] = '\0';
    for (size_t i = 998; i < 200000; i += 1000)
        memcpy(big + i, "\r\n", 2);
    return big;
}
/* The file of an epoch that begins with segment 0. */
static inline uint64_t
first_file(uint32_t epoch)
{
    struct spool_listing all;
    uint64_t number = 0;

    IS(spool_list(rig.dir, NULL, &all, NULL), 0, "listed");
    for (size_t i = 0; i < all.n; i++)
        if (all.items[i].epoch == epoch && all.items[i].seq == 0)
            number = all.items[i].number;
    spool_listing_done(&all);
    return number;
}
struct rig_test {
    const char *name;
    void (*fn)(void);
};
/* All of them, or the one that the command line names. */
static inline int
rig_main(int argc, char **argv, const struct rig_test *tests, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
            continue;
        printf("# %s\n", tests[i].name);
        tests[i].fn();
    }
    return tap_done();
}
#endif
