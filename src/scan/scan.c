/*
 * scan/scan.c - questions of the courier, what the keeper says to them, and the events of both.
 *
 * Called by the scan role. Opens nothing by name and speaks to nobody but these two.
 */
#include "scan/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/event.h"
#include "scan/report.h"
#include "store/asks.h"
#include "store/settings.h"
#include "store/settings_reports.h"

#define WAITING   8u
#define WAIT      (60 * NS_PER_S)
#define SEALS     (F_SEAL_WRITE | F_SEAL_SHRINK)
#define SEALS_OUT (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define MAIL_MAX  (2u << 30)
#define READ_CPU  60 /* s of the processor for one mail; the largest takes a second or two */
#define ALARM_GAP (60 * NS_PER_S) /* anybody can send broken reports: one alarm a minute */

struct scan {
    struct scan_links links;
    struct chan_asks *asks;
    struct str hostname;
    struct report_limits limits;
    uint64_t alarm_at, unsaid; /* mono ns; since then */
};
struct keeping { /* a report at the keeper's */
    struct scan *scan;
    uint64_t id; /* the courier's */
    struct buf wire;
    struct report_head head; /* views into it */
};

void
scan_set_conf(struct scan *s, const struct conf *conf)
{
    const struct settings_main *m = conf_get(conf, "");
    const struct settings_reports *r = settings_reports(conf);

    s->hostname = m->hostname;
    s->limits = report_limits_default;
    if (!r)
        return;
    s->limits.packed = r->max_size;
    s->limits.bytes = r->max_unpacked;
    s->limits.rows = (uint32_t)r->max_records;
}

int
scan_create(struct scan **ret, const struct scan_links *links, const struct conf *conf)
{
    struct scan *s = calloc(1, sizeof(*s));

    if (!s)
        return ERR_NOMEM;
    s->links = *links;
    s->asks = chan_asks_create(links->loop, WAITING);
    if (!s->asks) {
        free(s);
        return ERR_NOMEM;
    }
    scan_set_conf(s, conf);
    *ret = s;
    return 0;
}

void
scan_free(struct scan *s)
{
    if (!s)
        return;
    chan_asks_free(s->asks); /* what waits there is asked again by the courier */
    free(s);
}

static void
answer(struct scan *s, uint64_t id, enum read_said said, const char *text)
{
    struct buf b;

    buf_init(&b, CHAN_BODY_MAX);
    put_u8(&b, (uint8_t)said);
    put_str(&b, str_c(text));
    /* a full channel loses the answer: the courier's timeout asks again */
    (void)chan_send(s->links.courier, ASK_READ_ANSWER, id, &b, -1);
    buf_done(&b);
}

/* --- what cannot be read --- */

/* Says it to the operator too, but not so often that strangers can fill his screen. */
static void
tell_bad(struct scan *s, struct str mail, const struct report_facts *f, const char *why)
{
    struct event *e = event_open("ReportUnreadable");
    uint64_t now = clock_mono();

    event_text(e, "id", mail);
    event_text(e, "from", f->from);
    event_text(e, "proof", f->proof.n ? f->proof : STR("none"));
    event_c(e, "why", why);
    event_send(e);
    if (s->alarm_at && now - s->alarm_at < ALARM_GAP) {
        s->unsaid++;
        return;
    }
    if (s->unsaid)
        event_alarm("the report in message %.*s (and in %llu others before it) cannot be read: "
                    "%s. The mail is safe: it is delivered, or set aside in the queue; `gapura "
                    "explain` tells where it is",
                    STR_ARG(mail), (unsigned long long)s->unsaid, why);
    else
        event_alarm("the report in message %.*s cannot be read: %s. The mail is safe: it is "
                    "delivered, or set aside in the queue; `gapura explain` tells where it is",
                    STR_ARG(mail), why);
    s->alarm_at = now;
    s->unsaid = 0;
}

/* --- what the keeper says --- */

static const char *
kind_name(const struct report_head *h)
{
    return h->kind == REPORT_KIND_TLS ? "TLS" : "DMARC";
}

static void
event_kept(const struct keeping *k, uint64_t number)
{
    const struct report_head *h = &k->head;
    struct event *e = event_open("ReportReceived");

    event_text(e, "id", h->facts.mail);
    event_u64(e, "report", number);
    event_c(e, "kind", h->kind == REPORT_KIND_TLS ? "tls" : "dmarc");
    event_text(e, "org", h->org);
    event_text(e, "report_id", h->id);
    event_text(e, "domain", h->domain);
    event_u64(e, "since", h->since);
    event_u64(e, "until", h->until);
    event_u64(e, h->kind == REPORT_KIND_TLS ? "sessions" : "messages", h->messages);
    event_u64(e, "passed", h->good);
    event_u64(e, "failed", h->bad);
    event_u64(e, "records", h->rows);
    event_text(e, "from", h->facts.from);
    event_text(e, "proof", h->facts.proof.n ? h->facts.proof : STR("none"));
    if (h->facts.by.n)
        event_text(e, "proved_by", h->facts.by);
    event_send(e);
}

static void
keeping_free(struct keeping *k)
{
    buf_done(&k->wire);
    free(k);
}

static void
on_kept(void *ctx, int status, struct wire *body, int fd)
{
    struct keeping *k = ctx;
    const struct report_head *h = &k->head;
    uint8_t said = wire_u8(body);
    uint64_t number = wire_u64(body);
    struct str words = wire_str(body), org = str_sub(h->org, 0, 100);
    char what[256], text[400];

    fd_close(&fd);
    str_fmt(what, sizeof(what), "%s report of %.*s about %.*s", kind_name(h), STR_ARG(org),
            STR_ARG(str_sub(h->domain, 0, 100)));
    if (status < 0 || !wire_end(body)) {
        answer(k->scan, k->id, READ_LATER, "the keeper did not take the report; it is read again");
    } else if (said == KEEP_DONE) {
        event_kept(k, number);
        str_fmt(text, sizeof(text), "%s, kept as %llu%s%.*s", what, (unsigned long long)number,
                words.n ? " " : "", (int)MIN(words.n, (size_t)100), words.p);
        answer(k->scan, k->id, READ_KEPT, text);
    } else if (said == KEEP_AGAIN) {
        str_fmt(text, sizeof(text), "%s: the same as %llu", what, (unsigned long long)number);
        answer(k->scan, k->id, READ_AGAIN, text);
    } else {
        str_fmt(text, sizeof(text), "the report was not kept: %.*s", (int)MIN(words.n, (size_t)300),
                words.p);
        if (said == KEEP_REFUSED)
            tell_bad(k->scan, h->facts.mail, &h->facts, text);
        answer(k->scan, k->id, said == KEEP_REFUSED ? READ_BAD : READ_LATER, text);
    }
    keeping_free(k);
}

/* --- a mail --- */

/* A memfd that nobody can change any more; -errno. */
static int
sealed_copy(struct str bytes)
{
    CLEANUP(fd_close) int fd = memfd_create("gapura-report", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int ret;

    if (fd < 0)
        return -errno;
    while (bytes.n) {
        ssize_t n = write(fd, bytes.p, bytes.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        bytes = str_from(bytes, (size_t)n);
    }
    if (fcntl(fd, F_ADD_SEALS, SEALS_OUT) < 0)
        return -errno;
    ret = fd;
    fd = -1;
    return ret;
}

/* What the report says is in k->wire: off to the keeper, or the courier is told why not. */
static bool
send_on(struct scan *s, struct keeping *k)
{
    CLEANUP(fd_close) int fd = sealed_copy(buf_view(&k->wire));
    struct wire w;
    uint64_t ask = 0;
    int r = fd < 0 ? fd : report_wire_open(&w, buf_view(&k->wire), &k->head);

    if (r == 0)
        ask = chan_ask_add(s->asks, WAIT, on_kept, k);
    if (ask && chan_send(s->links.keeper, ASK_KEEP, ask, NULL, fd) == 0)
        return true;
    chan_ask_cancel(s->asks, ask);
    answer(s, k->id, READ_LATER, "the keeper cannot be asked now; the report is read again");
    return false;
}

/* A mail that is never read to its end ends this role, and not the reading of all others: SIGPROF.
 * 0: no limit any more. */
static void
limit_cpu(unsigned seconds)
{
    const struct itimerval t = {.it_value.tv_sec = seconds};

    (void)setitimer(ITIMER_PROF, &t, NULL);
}

static void
read_mail(struct scan *s, uint64_t id, struct str name, uint64_t received, struct str mail)
{
    struct keeping *k = calloc(1, sizeof(*k));
    struct report_facts facts = {.mail = name, .received = received};
    struct scan_report_ask ask = {mail, s->hostname, s->limits};
    struct arena arena;
    struct why why = {{0}};
    char text[400];
    int r = ERR_NOMEM;

    arena_init(&arena, (size_t)s->limits.bytes + (size_t)s->limits.rows * 2048 + (16u << 20));
    if (k) {
        *k = (struct keeping){.scan = s, .id = id};
        buf_init(&k->wire, REPORT_WIRE_MAX);
        r = scan_report(&ask, &facts, &arena, &k->wire, &why);
    }
    if (r == 0 && send_on(s, k)) {
        k = NULL;
    } else if (r == ERR_NOTFOUND) {
        str_fmt(text, sizeof(text), "no report: %.300s",
                why.text[0] ? why.text : "nothing in the mail is one");
        answer(s, id, READ_NONE, text);
    } else if (r == ERR_NOMEM) {
        answer(s, id, READ_LATER, "no memory to read the report now; it is tried again");
    } else if (r < 0) {
        scan_report_facts(mail, s->hostname, &arena, &facts);
        tell_bad(s, name, &facts, why.text[0] ? why.text : err_text(r));
        str_fmt(text, sizeof(text), "its report cannot be read: %.300s",
                why.text[0] ? why.text : err_text(r));
        answer(s, id, READ_BAD, text);
    }
    arena_done(&arena);
    if (k)
        keeping_free(k);
}

static void
on_read(struct scan *s, uint64_t id, struct wire *body, int fd)
{
    CLEANUP(fd_close) int own = fd;
    struct str name = wire_str(body);
    uint64_t received = wire_u64(body), size = wire_u64(body);
    int seals = own < 0 ? -1 : fcntl(own, F_GET_SEALS);
    struct stat st;
    void *base;

    if (!wire_end(body))
        return;
    if (seals < 0 || (seals & SEALS) != SEALS || fstat(own, &st) < 0 ||
        (uint64_t)st.st_size != size || size > MAIL_MAX || name.n > 64) {
        answer(s, id, READ_BAD, "what was handed over is not a sealed mail of that size");
        return;
    }
    if (!size) {
        answer(s, id, READ_NONE, "no report: the mail is empty");
        return;
    }
    base = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, own, 0);
    if (base == MAP_FAILED) {
        answer(s, id, READ_LATER, "no memory to read the report now; it is tried again");
        return;
    }
    limit_cpu(READ_CPU);
    read_mail(s, id, name, received, str_of(base, (size_t)size));
    limit_cpu(0);
    munmap(base, (size_t)size);
}

bool
scan_message(struct scan *s, uint16_t type, uint64_t id, struct wire *body, int fd)
{
    switch (type) {
    case ASK_READ:
        on_read(s, id, body, fd);
        return true;
    case ASK_KEEP_ANSWER:
        chan_ask_answer(s->asks, id, body, fd);
        return true;
    default:
        return false;
    }
}

void
scan_keeper_lost(struct scan *s)
{
    chan_asks_fail(s->asks, ERR_CLOSED);
}
