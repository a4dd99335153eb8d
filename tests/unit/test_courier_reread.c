/*
 * tests/unit/test_courier_reread.c - what was decided in one life of the courier means the same in
 * the next: released, removed, copied mail, and epochs that could not be read to their end.
 */
#include "courier/outs.h"
#include "courier/scope.h"
#include "courier_tests.h"

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

/* A copy is read before the removal that took its rows: nothing of the message stays. */
static void
test_purge_after_copy(void)
{
    char *big = big_body();

    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    rig_post(&rig, "a@test.example", "later@far.example", NULL, BODY);
    for (int i = 0; i < 60; i++)
        rig_post(&rig, "a@test.example", "b@far.example", NULL, big);
    RIG_FOR(&rig, waiting() == 1);
    for (int i = 0; i < 50 && rig.freed < 2; i++)
        pass(1);
    OK(rig.freed >= 2, "the slow one was copied");
    verb("queue.remove", "{\"all\":true,\"reason\":\"x\"}");
    RIG_FOR(&rig, waiting() == 0);
    rig_settle(&rig, 20);
    all_die();
    OK(rig_courier(&rig, true), "a new courier");
    RIG_FOR(&rig, rig.courier->recovered);
    IS(waiting(), 0, "no row");
    IS(rig.courier->index.messages.count, 0, "and no message that holds its segment");
    free(big);
    rig_done(&rig);
    clock_release();
}

static void
filler_durable(struct out *o, int got)
{
    IS(got, 0, "written");
    out_give(o);
}

/* Bytes that our segment still takes. */
static size_t
room_left(void)
{
    const struct spool_share *share = spool_writer_share(rig.own.writer);
    uint64_t end = atomic_load(&share->page->durable), start = 0;
    struct spool_segment s = {0};

    IS(spool_share_segment_at(share, end - 1, &s, &start), 0, "our segment");
    return (size_t)(s.size - SPOOL_UNIT - (end - start));
}

/* Takes so many bytes of our segment. */
static void
fill(size_t bytes)
{
    struct out *o = out_take(rig.courier, SPOOL_OUTCOME);
    struct spool_outcome rec = {.id = {rig.courier->links.node, rig.gate.epoch, 1000000},
                                .result = SPOOL_RETRY};

    spool_outcome_encode(&o->payload, &rec, NULL);
    memset(buf_room(&o->body, bytes), 'x', bytes);
    buf_used(&o->body, bytes);
    o->durable = filler_durable;
    IS(out_add(o), 0, "added");
    RIG_FOR(&rig, outs_open(rig.courier) == 0);
}

/* What was taken away while its copy was under way: the copy comes to rest behind the removal's
 * record, in another segment, which may stay longer than the record and than the first one. */
static void
test_purge_before_copy(void)
{
    char *big = big_body();
    unsigned freed;

    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    rig_post(&rig, "a@test.example", "later@gone.example", NULL, big);
    rig_post(&rig, "a@test.example", "later@far.example", NULL, BODY);
    for (int i = 0; i < 60; i++)
        rig_post(&rig, "a@test.example", "b@far.example", NULL, big);
    RIG_FOR(&rig, waiting() == 2 && in_state(ROW_WAITING) == 2 && outs_open(rig.courier) == 0);
    for (size_t left; (left = room_left()) > 100000;)
        fill(MIN(left - 50000, (size_t)1900000));
    rig_disk.hold = true;
    verb_begin("queue.remove", "{\"domain\":\"gone.example\",\"reason\":\"x\"}");
    RIG_UNTIL(rig_disk.held == 1);
    for (int i = 0; i < 50 && outs_open(rig.courier) < 3; i++)
        pass(1);
    OK(outs_open(rig.courier) >= 3, "copies are under way behind the removal");
    rig_disk.pass = 1;
    RIG_FOR(&rig, waiting() == 1);
    freed = rig.freed;
    rig_disk.hold = false;
    RIG_FOR(&rig, status == 0 && outs_open(rig.courier) == 0);
    for (int i = 0; i < 25; i++) /* on to another segment: what the removal stands beside may go */
        rig_post(&rig, "a@test.example", "b@far.example", NULL, big);
    RIG_FOR(&rig, waiting() == 1);
    for (int i = 0; i < 20; i++)
        pass(1);
    OK(rig.freed >= freed + 2, "the first segments are free: %u", rig.freed - freed);
    IS(waiting(), 1, "one waits");
    all_die();
    OK(rig_courier(&rig, true), "a new courier");
    RIG_FOR(&rig, rig.courier->recovered);
    IS(waiting(), 1, "what was removed does not come back");
    free(big);
    rig_done(&rig);
    clock_release();
}

/* A message with more recipients than the index takes: what is missing is there after a start. */
static void
test_partial(void)
{
    char *big = big_body();

    own_clock();
    rig_init(&rig, ROUTE SOON "}\n");
    rig.courier->index.rows.max = 2;
    rig_post(&rig, "a@test.example", "later@far.example later@near.example later@else.example",
             NULL, BODY);
    RIG_FOR(&rig, in_state(ROW_WAITING) == 2);
    IS(rig.alarms, 1, "an alarm tells that not all of it is indexed");
    rig.courier->index.rows.max = COURIER_MAX_ROWS;
    for (int i = 0; i < 60; i++)
        rig_post(&rig, "a@test.example", "b@far.example", NULL, big);
    RIG_FOR(&rig, waiting() == 2);
    for (int i = 0; i < 50; i++)
        pass(1);
    all_die();
    OK(rig_courier(&rig, true), "a new courier");
    RIG_FOR(&rig, rig.courier->recovered);
    IS(waiting(), 3, "all three recipients wait");
    free(big);
    rig_done(&rig);
    clock_release();
}

/* A record that this version refuses: nothing behind it is read, nothing before it goes twice, and
 * the next gate's mail is delivered. */
static void
test_tail_fails(void)
{
    struct rig_stream second = {0};
    struct rig_mail odd = {.out = {.type = 0x42, .done = mail_done}};

    rig_init(&rig, ROUTE);
    rig_post(&rig, "a@test.example", "one@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 1 && waiting() == 0);
    rig_crash(&rig);
    rig_post(&rig, "a@test.example", "two@far.example", NULL, BODY);
    odd.out.payload = STR("12345678");
    IS(spool_writer_add(rig.gate.writer, &odd.out), 0, "a record of another time");
    RIG_FOR(&rig, odd.done);
    IS(odd.status, 0, "is on disk");
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream of ours");
    OK(rig_courier(&rig, true), "a courier that catches up");
    RIG_FOR(&rig, rig.alarms == 1);
    for (int i = 0; i < 3; i++) {
        rig_post(&rig, "a@test.example", "three@far.example", NULL, BODY);
        rig_settle(&rig, 30);
    }
    OK(rig.messages <= 2, "nothing goes twice: %u", rig.messages);
    IS(rig.alarms, 1, "one alarm");
    OK(rig_stream_open(&rig, &second, SPOOL_STREAM_GATE * 256), "a second gate");
    IS(rig_follow(&second), 0, "is followed");
    rig_stream_close(&rig.gate);
    rig.gate = second;
    rig.messages = 0;
    rig_post(&rig, "a@test.example", "four@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 1);
    OK(strstr(rig.last_rcpt, "four@") != NULL, "its mail goes");
    rig.gate = (struct rig_stream){0};
    rig_crash(&rig);
    rig_stream_close(&second);
    rig_done(&rig);
}

static uint64_t report_at, outcome_at;

static int
note_place(void *ctx, const struct spool_place *place, const struct spool_record *r)
{
    struct spool_outcome o;

    (void)ctx;
    if (r->type == SPOOL_MESSAGE)
        report_at = place->position;
    if (r->type == SPOOL_OUTCOME && spool_outcome_decode(r, &o) == 0 && o.result == SPOOL_FAILED)
        outcome_at = place->position;
    return 0;
}

/* The outcome of a refused recipient comes to rest behind the report of it, never before. */
static void
test_report_first(void)
{
    static const struct spool_reader_ops ops = {.record = note_place};
    static const char *const rcpts[] = {"bad@far.example", "bad@far.example bad2@far.example"};
    struct spool_listing all;

    for (size_t i = 0; i < ARRAY_LEN(rcpts); i++) {
        size_t first = 0, n = 0;
        rig_init(&rig, ROUTE);
        rig_post(&rig, "a@test.example", rcpts[i], NULL, BODY);
        RIG_FOR(&rig, rig.messages == 1 && waiting() == 0);
        rig_crash(&rig);
        IS(spool_list(rig.dir, NULL, &all, NULL), 0, "listed");
        while (first < all.n && all.items[first].epoch != rig.own.epoch)
            first++;
        while (first + n < all.n && all.items[first + n].epoch == rig.own.epoch)
            n++;
        report_at = outcome_at = UINT64_MAX;
        IS(spool_epoch_read(rig.dir, all.items + first, n, NULL, &ops, NULL), 0, "read");
        spool_listing_done(&all);
        OK(outcome_at != UINT64_MAX && report_at < outcome_at,
           "the report's batch is before the outcome's: %llu, %llu", (unsigned long long)report_at,
           (unsigned long long)outcome_at);
        rig_done(&rig);
    }
}

static void
gate_opens(bool told)
{
    rig_stream_close(&rig.gate);
    OK(rig_stream_open(&rig, &rig.gate, SPOOL_STREAM_GATE * 256), "another gate");
    if (told)
        IS(rig_follow(&rig.gate), 0, "is followed");
}

/* A gate came and went while its word did not reach us: its mail is read with the next one's. */
static void
test_gate_missed(void)
{
    rig_init(&rig, ROUTE);
    rig_post(&rig, "a@test.example", "one@far.example", NULL, BODY);
    RIG_FOR(&rig, rig.messages == 1 && waiting() == 0);
    gate_opens(false);
    rig_post(&rig, "a@test.example", "two@far.example", NULL, BODY);
    rig_settle(&rig, 20);
    IS(rig.messages, 1, "nobody knows of it");
    gate_opens(true);
    RIG_FOR(&rig, rig.messages == 2 && waiting() == 0);
    OK(strstr(rig.last_rcpt, "two@") != NULL, "%s", rig.last_rcpt);
    gate_opens(true);
    rig_settle(&rig, 20);
    IS(rig.messages, 2, "once");
    rig_crash(&rig); /* the same before delivery is open */
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream of ours");
    rig.attach_first = true;
    rig.recover_steps = 1;
    OK(rig_courier(&rig, true), "a courier");
    gate_opens(false);
    rig_post(&rig, "a@test.example", "three@far.example", NULL, BODY);
    gate_opens(true);
    RIG_FOR(&rig, rig.courier->recovered);
    RIG_FOR(&rig, rig.messages == 3 && waiting() == 0);
    IS(rig.alarms, 0, "no alarm");
    rig_done(&rig);
}

/* What a connection had while a removal took its like away goes when it comes back, also when it
 * would be set aside. */
static void
test_purge_returned(void)
{
    struct spool_envelope stranger = {.flags = SPOOL_MAIL_INBOUND, .class = SPOOL_CLASS_INSIDE};

    rig_init(&rig, ROUTE);
    rig.ehlo = "250 sink\r\n";
    rig.mail = NULL; /* no answer yet */
    rig_post(&rig, "x@stranger.example", "b@far.example", &stranger, BODY);
    RIG_FOR(&rig, rig.last_mail[0] != '\0');
    verb("queue.remove", "{\"all\":true,\"reason\":\"x\"}");
    IS(waiting(), 1, "a connection has it");
    sink_say(rig.conns, "550 5.7.1 not you\r\n");
    RIG_FOR(&rig, waiting() == 0);
    IS(rig.removed, 1, "and an event tells");
    rig_done(&rig);
}

static void
touch(const char *dir, const char *sub, const char *name)
{
    char path[400];
    int fd;

    str_fmt(path, sizeof path, "%s/%s", dir, sub);
    mkdir(dir, 0700);
    mkdir(path, 0700);
    str_fmt(path, sizeof path, "%s/%s/%s", dir, sub, name);
    fd = open(path, O_WRONLY | O_CREAT, 0600);
    OK(fd >= 0, "%s", path);
    fd_close(&fd);
}

static unsigned
files_in(const char *dir, const char *sub)
{
    char path[400];
    struct dirent *e;
    unsigned n = 0;
    DIR *d;

    str_fmt(path, sizeof path, "%s/%s", dir, sub);
    d = opendir(path);
    while (d && (e = readdir(d)) != NULL)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n;
}

/* A delivery from before the crash that its reader moved on meanwhile is no second copy. */
static void
test_maildir_read(void)
{
    char conf[300], dir[100], name[100], id[SPOOL_ID_TEXT];
    struct rig_mail *m;

    str_fmt(dir, sizeof dir, "/tmp/gapura-maildir-%d", (int)getpid());
    str_fmt(conf, sizeof conf, "domain in.example {\n inside = maildir:%s\n recipients = any\n}\n",
            dir);
    rig_init(&rig, conf);
    rig_crash(&rig);
    m = rig_mail(&rig, "x@far.example", "a@in.example b@in.example", NULL, BODY);
    RIG_FOR(&rig, m->done);
    spool_id_show(&(struct spool_id){spool_pool_node(rig.pool), rig.gate.epoch, m->seq}, id);
    mail_free(m);
    str_fmt(name, sizeof name, "%s.1.gapura:2,S", id);
    touch(dir, "cur", name);
    OK(rig_stream_open(&rig, &rig.own, SPOOL_STREAM_COURIER * 256), "a new stream of ours");
    OK(rig_courier(&rig, true), "the next courier");
    RIG_FOR(&rig, rig.deliveries == 2 && waiting() == 0);
    IS(files_in(dir, "new"), 1, "the one that was not there");
    IS(files_in(dir, "cur"), 1, "and the one that was read");
    rig_remove_dir(dir);
    rig_done(&rig);
}

/* A suspension that ends before its beginning is on disk, in this life and the next. */
static void
test_resume_at_once(void)
{
    rig_init(&rig, ROUTE);
    verb("suspend", "{\"domain\":\"far.example\",\"reason\":\"they move\"}");
    verb("resume", "{\"all\":true}");
    for (int life = 0; life < 2; life++) {
        RIG_FOR(&rig, rig.courier->scopes->n == 0);
        rig_post(&rig, "a@test.example", "b@far.example", NULL, BODY);
        RIG_FOR(&rig, waiting() == 0);
        next_courier();
        RIG_FOR(&rig, rig.courier->recovered);
    }
    IS(rig.messages, 2, "both went");
    rig_done(&rig);
}

/* Removed mail stays removed, also if its epoch could not be read for one whole life. */
static void
test_purge_unreadable(void)
{
    char path[128], away[140];
    uint64_t number;

    own_clock();
    rig_init(&rig, ROUTE "delivery {\n hold = yes\n}\n");
    rig_post(&rig, "a@test.example", "gone@far.example", NULL, BODY);
    RIG_FOR(&rig, waiting() == 1);
    number = first_file(rig.gate.epoch);
    rig.no_free = true;
    verb("queue.remove", "{\"all\":true,\"reason\":\"x\"}");
    RIG_FOR(&rig, waiting() == 0);
    rig_settle(&rig, 20);
    all_die();
    rig.no_free = false;
    rig.attach_first = true;
    OK(rig_courier(&rig, true), "a courier that has listed the spool");
    str_fmt(path, sizeof path, "%s/seg/%08llu.seg", rig.dir, (unsigned long long)number);
    str_fmt(away, sizeof away, "%s.away", path);
    OK(rename(path, away) == 0 && mkdir(path, 0700) == 0, "%s cannot be read", path);
    RIG_FOR(&rig, rig.courier->recovered);
    for (int i = 0; i < 30; i++) /* our old segments are given back, if nothing holds them */
        pass(1);
    rmdir(path);
    OK(rename(away, path) == 0, "the disk is mended");
    rig.attach_first = false;
    all_die();
    OK(rig_courier(&rig, true), "the next start");
    RIG_FOR(&rig, rig.courier->recovered);
    rig_settle(&rig, 20);
    IS(waiting(), 0, "what was removed is not there again");
    rig_done(&rig);
    clock_release();
}

int
main(int argc, char **argv)
{
    static const struct rig_test tests[] = {
        {"flight", test_purge_before_copy}, {"aside", test_aside_released},
        {"copied", test_purge_after_copy},  {"unread", test_purge_unreadable},
        {"partial", test_partial},          {"tail", test_tail_fails},
        {"report", test_report_first},      {"missed", test_gate_missed},
        {"returned", test_purge_returned},  {"resume", test_resume_at_once},
        {"maildir", test_maildir_read},
    };

    return rig_main(argc, argv, tests, ARRAY_LEN(tests));
}
