/*
 * tests/support/bounce_suite.c - runs collections of bounces and complaints through the reader of
 * delivery reports and the classes of replies: a TAP line a case, figures at the end.
 *
 *     build/tests/bounce_suite [--map FILE] [--disputed FILE] [--shuffle-hosts SEED]
 *                              [--held-out SEED] PATH...
 *
 * A labels.json in a folder above a case tells what each recipient should be (status, reply code,
 * reason, hard or soft). Files without a label must be read in bounded time and the same however
 * they are fed; those in a folder `not` are no reports; those in `rfc3464` and `rfc5965` are one. A
 * file that begins as a mailbox does holds several mails. tests/data/reason-map.txt says which of
 * our classes agree with a reason. A recipient that differs is printed with the digest of what it
 * says; those of docs/disputed/bounce.txt count as skipped, but never as right in the figures.
 * --shuffle-hosts puts other hosts and addresses into what servers said; --held-out measures a half
 * of the cases without the patterns that decide in that half alone. BOUNCE_SHOW=1 prints what was
 * read.
 */
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "courier/bounce_class.h"
#include "suite_file.h"
#include "suite_reason.h"
#include "suite_reply.h"
#include "tap.h"

#define LABEL_ABOVE 4u  /* folders above a case in which labels are looked for */
#define MAILS_MAX   16u /* in a file that is a mailbox */

static struct {
    unsigned cases, disputed, wanted, rcpts, found, kind, status, code, hard, class;
    unsigned soft, suppressed, blocks, retried;
} sum;
static const char *map_path = "tests/data/reason-map.txt";
static const char *disputed_path = "docs/disputed/bounce.txt";
static struct reply_classes *classes;
static struct {
    bool shuffle, quiet;   /* quiet: no TAP lines, only what is learnt */
    bool held_out, second; /* only the second half is counted */
    uint64_t shuffle_seed, seed;
} run;

/* ---- reading ---- */

enum ends { ENDS_AS_IS, ENDS_LF, ENDS_CRLF, ENDS_CR };

static void
with_ends(struct str in, enum ends ends, struct buf *out)
{
    static const char *const text[] = {"", "\n", "\r\n", "\r"};

    buf_init(out, 2 * SUITE_FILE_MAX);
    for (size_t i = 0; i < in.n; i++) {
        if (ends == ENDS_AS_IS || (in.p[i] != '\r' && in.p[i] != '\n')) {
            buf_char(out, in.p[i]);
            continue;
        }
        i += in.p[i] == '\r' && i + 1 < in.n && in.p[i + 1] == '\n';
        buf_c(out, text[ends]);
    }
}

static struct dsn_reader *
read_mail(struct str message, size_t piece)
{
    struct dsn_reader *r;

    if (dsn_reader_create(&r, &dsn_limits_default) < 0)
        abort();
    for (size_t at = 0; at < message.n; at += piece)
        dsn_reader_feed(r, message.p + at, MIN(piece, message.n - at));
    dsn_reader_end(r);
    return r;
}

static bool
same(const struct dsn_report *a, const struct dsn_report *b)
{
    if (a->kind != b->kind || a->nrcpt != b->nrcpt || !str_eq(a->message_id, b->message_id) ||
        !str_eq(a->original, b->original))
        return false;
    for (unsigned i = 0; i < a->nrcpt; i++) {
        const struct dsn_outcome *x = &a->rcpts[i], *y = &b->rcpts[i];
        if (!str_eq(x->final, y->final) || x->action != y->action || x->code != y->code ||
            strcmp(x->status, y->status) != 0 || !str_eq(x->reply, y->reply) ||
            x->phase != y->phase || !str_eq(x->remote_mta, y->remote_mta))
            return false;
    }
    return true;
}

static void
show(const struct dsn_report *r)
{
    if (!getenv("BOUNCE_SHOW"))
        return;
    printf("# %s%s from <%.*s> id %.*s\n", dsn_kind_name(r->kind), r->machine ? " (machine)" : "",
           STR_ARG(r->from), STR_ARG(r->message_id));
    for (unsigned i = 0; i < r->nrcpt; i++) {
        const struct dsn_outcome *o = &r->rcpts[i];
        printf("#   <%.*s> action %d code %u status %s phase %d mta %.*s: %.*s\n",
               STR_ARG(o->final), (int)o->action, o->code, o->status, (int)o->phase,
               STR_ARG(o->remote_mta), STR_ARG(o->reply));
    }
}

/* ---- labels ---- */

/* The labels of a case: the array of its recipients, or NULL. Files are kept open for the run. */
static json_t *
label_of(const char *path)
{
    static char loaded[4096];
    static json_t *root;
    char folder[4096], name[4096];

    if (!str_copy(str_c(path), folder, sizeof(folder)))
        return NULL;
    for (unsigned i = 0; i < LABEL_ABOVE; i++) {
        char *slash = strrchr(folder, '/');
        if (!slash)
            return NULL;
        *slash = '\0';
        str_fmt(name, sizeof(name), "%s/labels.json", folder);
        if (strcmp(name, loaded) != 0 && access(name, R_OK) != 0)
            continue;
        if (strcmp(name, loaded) != 0) {
            json_decref(root);
            root = json_load_file(name, 0, NULL);
            str_copy(str_c(name), loaded, sizeof(loaded));
        }
        return json_object_get(root, suite_base(path).p);
    }
    return NULL;
}

static const char *
field(const json_t *label, const char *name)
{
    const char *text = json_string_value(json_object_get(label, name));

    return text ? text : "";
}

/* "5.0.911" and its kind are the collection's own numbers for "none was told". */
static bool
is_made_up(const char *status)
{
    return strlen(status) == 7 && !strncmp(status + 1, ".0.9", 4);
}

static bool
same_status(const char *want, const char *got)
{
    if (!is_made_up(want))
        return !strcmp(want, got) || (!*want && !*got);
    return !got[0] || !strcmp(got + 1, ".0.0");
}

/* ---- judging ---- */

static enum dsn_kind
kind_wanted(const char *reason)
{
    static const struct {
        const char *reason;
        enum dsn_kind kind;
    } rows[] = {
        {"feedback", DSN_KIND_FEEDBACK},
        {"vacation", DSN_KIND_AUTO_REPLY},
        {"delivered", DSN_KIND_DELIVERY},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (!strcmp(rows[i].reason, reason))
            return rows[i].kind;
    return DSN_KIND_FAILURE;
}

/* What is learnt of one recipient. */
struct learnt {
    enum dsn_kind kind;
    const struct dsn_outcome *o;
    struct str said; /* as the report has it, whatever hosts it was given to be read with */
    struct reply_class_result class;
};

static void
count_advice(const char *name, const struct learnt *l, bool hard, bool block)
{
    const struct reply_advice *a = &l->class.advice;
    bool for_good = l->class.code == 0 || l->class.code >= 500;

    bool wrong;

    if (!hard) {
        wrong = a->suppress != REPLY_SCOPE_NONE && a->suppress_s == REPLY_FOREVER;
        sum.soft++;
        sum.suppressed += wrong;
        if (wrong)
            printf("# %s: suppressed for good\n", name);
    }
    if (block) {
        sum.blocks++;
        wrong = a->retry != REPLY_RETRY_NO &&
                (a->other_source || (for_good && l->class.class != REPLY_CLASS_RATE &&
                                     l->class.class != REPLY_CLASS_TEMPORARY));
        sum.retried += wrong;
        if (wrong)
            printf("# %s: a block, tried again\n", name);
    }
}

/* The same words with the same label are the same case wherever they come from. */
static uint64_t
digest_of(const struct learnt *l, const json_t *label)
{
    char text[200];

    str_fmt(text, sizeof text, "%s %s %s %s", field(label, "reason"), field(label, "status"),
            field(label, "replycode"),
            json_is_true(json_object_get(label, "hardbounce")) ? "hard" : "soft");
    return suite_digest(l->said, str_c(l->o->status), str_c(text));
}

/* Compares one recipient with its label; what differs goes to `why`. */
static void
judge_rcpt(const char *name, struct learnt *l, const json_t *label, struct buf *why)
{
    const char *reason = field(label, "reason"), *status = field(label, "status");
    const char *code = field(label, "replycode");
    const struct suite_reason *row = suite_reason_of("sisimai", reason);
    bool hard = json_is_true(json_object_get(label, "hardbounce"));
    enum dsn_kind kind = kind_wanted(reason);
    bool kind_good = kind == l->kind || (kind == DSN_KIND_FAILURE && l->kind == DSN_KIND_DELAY);
    bool fails = kind != DSN_KIND_FEEDBACK && kind != DSN_KIND_AUTO_REPLY;
    bool status_good = !fails || same_status(status, l->o->status);
    bool class_good, hard_good;
    char got[8] = "";

    if (l->o->code)
        str_fmt(got, sizeof(got), "%u", l->o->code);
    class_good = suite_reason_agrees(row, reply_class_name(l->class.class));
    hard_good = hard == l->class.hard;
    count_advice(name, l, hard, row && row->block);
    sum.kind += kind_good;
    sum.status += status_good;
    sum.code += !fails || !strcmp(code, got);
    sum.rcpts++;
    sum.class += class_good;
    sum.hard += hard_good;
    if (!kind_good)
        buf_fmt(why, "%s, not %s; ", dsn_kind_name(l->kind), dsn_kind_name(kind));
    if (!status_good)
        buf_fmt(why, "status %s, not %s; ", l->o->status, status);
    if (fails && strcmp(code, got) != 0)
        buf_fmt(why, "code %s, not %s; ", got, code);
    if (!class_good || !hard_good)
        buf_fmt(why, "%s %s, not %s %s, by %.*s: %.*s; ", reply_class_name(l->class.class),
                l->class.hard ? "hard" : "soft", reason, hard ? "hard" : "soft",
                STR_ARG(l->class.pattern), STR_ARG(str_sub(l->o->reply, 0, 300)));
}

/* What is said, with other hosts if the run wants them. */
static struct dsn_outcome
outcome_to_read(const struct dsn_outcome *o)
{
    static struct buf reply, mta;
    struct dsn_outcome other = *o;

    if (!run.shuffle)
        return other;
    if (!reply.max) {
        buf_init(&reply, 256 << 10);
        buf_init(&mta, 4096);
    }
    buf_clear(&reply);
    buf_clear(&mta);
    buf_str(&reply, suite_shuffled(classes, run.shuffle_seed, o->reply));
    buf_str(&mta, suite_shuffled(classes, run.shuffle_seed, o->remote_mta));
    other.reply = buf_view(&reply);
    other.remote_mta = buf_view(&mta);
    other.final = STR_NONE;
    other.original = STR("somebody@example");
    return other;
}

/* The recipient that the report is taken to be proven for: whom it names. */
static struct str
sent_to(const struct dsn_outcome *o)
{
    return o->original.n ? o->original : o->final.n ? o->final : STR("somebody@example");
}

/* One recipient: learns, compares, counts. What nobody disputes goes to `why`; a dispute's reason
 * is returned. */
static const char *
one_rcpt(const char *name, const struct dsn_report *r, const struct dsn_outcome *o,
         const json_t *label, struct buf *why)
{
    struct dsn_outcome read = outcome_to_read(o);
    struct learnt l = {.kind = r->kind, .o = &read, .said = o->reply};
    const char *reason;
    uint64_t digest;
    struct buf differs;
    bool second;

    /* a collection proves of no complaint who sent it */
    bounce_classify(classes, r, &read, r->kind == DSN_KIND_FEEDBACK ? STR_NONE : sent_to(&read),
                    &l.class);
    digest = digest_of(&l, label);
    second = suite_half(digest, run.seed);
    if (run.held_out && !run.second)
        suite_half_decided(&l.class, second);
    if (run.held_out && !(run.second && second))
        return NULL;
    buf_init(&differs, 64u << 10);
    judge_rcpt(name, &l, label, &differs);
    reason = differs.n ? suite_dispute(digest) : NULL;
    sum.disputed += reason != NULL;
    if (differs.n && run.held_out)
        printf("# %s: %.*s\n", name, STR_ARG(buf_view(&differs)));
    if (differs.n && !reason)
        buf_fmt(why, "%016llx %.*s", (unsigned long long)digest, STR_ARG(buf_view(&differs)));
    buf_done(&differs);
    return reason;
}

static void
judge_labels(const char *name, struct dsn_reader *const *mails, unsigned nmails, json_t *labels)
{
    size_t want = json_array_size(labels), got = 0;
    const char *reason, *disputed = NULL;
    struct buf why;

    buf_init(&why, 64u << 10);
    sum.cases++;
    sum.wanted += (unsigned)want;
    for (unsigned m = 0; m < nmails; m++) {
        const struct dsn_report *r = dsn_reader_end(mails[m]);
        static const struct dsn_outcome nobody; /* a complaint may hide who complained */
        unsigned n = r->kind == DSN_KIND_FEEDBACK && !r->nrcpt ? 1 : r->nrcpt;

        for (unsigned i = 0; i < n; i++, got++) {
            if (got >= want)
                continue;
            sum.found++;
            reason = one_rcpt(name, r, r->nrcpt ? &r->rcpts[i] : &nobody,
                              json_array_get(labels, got), &why);
            disputed = reason ? reason : disputed;
        }
    }
    if (got != want)
        buf_fmt(&why, "%zu recipients, not %zu; ", got, want);
    if (!run.quiet && disputed && !why.n)
        tap_skip(name, disputed);
    else if (!run.quiet)
        OK(!why.n, "%s%s%.*s", name, why.n ? ": " : "", STR_ARG(buf_view(&why)));
    buf_done(&why);
}

/* The mails of a file: one, or those of a mailbox, whose lines end with LF then. */
static unsigned
split_mails(struct buf *whole, struct str mails[MAILS_MAX])
{
    struct str file = buf_view(whole);
    unsigned n = 0;
    ssize_t next;

    if (!str_starts(file, STR("From "))) {
        mails[0] = file;
        return 1;
    }
    if (str_chr(file, '\n') < 0) {
        struct buf lines;

        with_ends(file, ENDS_LF, &lines);
        buf_done(whole);
        *whole = lines;
        file = buf_view(whole);
    }
    for (; file.n && n < MAILS_MAX; n++) {
        (void)str_cut(file, '\n', &file);
        next = str_find(file, STR("\n\nFrom "));
        if (next < 0)
            next = str_find(file, STR("--\nFrom "));
        mails[n] = next < 0 ? file : str_sub(file, 0, (size_t)next + 3);
        file = str_from(file, mails[n].n);
        while (file.n && file.p[0] == '\n')
            file = str_from(file, 1);
    }
    return n;
}

/* Read alike whatever its line ends are and however it is cut? */
static bool
reads_alike(struct str mail, const struct dsn_report *report)
{
    bool alike = true;

    for (int ends = ENDS_LF; ends <= ENDS_CR; ends++) {
        struct dsn_reader *again;
        struct buf text;

        with_ends(mail, (enum ends)ends, &text);
        again = read_mail(buf_view(&text), 7);
        alike &= same(report, dsn_reader_end(again));
        dsn_reader_free(again);
        buf_done(&text);
    }
    return alike;
}

static void
one_file(void *ctx, const char *path)
{
    struct dsn_reader *r[MAILS_MAX];
    struct str mails[MAILS_MAX];
    const struct dsn_report *report = NULL;
    size_t n = strlen(path);
    bool alike = true;
    struct buf file;
    unsigned nmails;
    json_t *labels;
    char name[512];

    (void)ctx;
    str_copy(suite_base(path), name, sizeof(name));
    if (n < 4 || strcmp(path + n - 4, ".eml") != 0)
        return;
    if (!suite_read(path, &file)) {
        OK(false, "%s cannot be read", path);
        return;
    }
    nmails = split_mails(&file, mails);
    for (unsigned i = 0; i < nmails; i++) {
        alarm(20); /* a reader that hangs ends the run */
        r[i] = read_mail(mails[i], mails[i].n ? mails[i].n : 1);
        report = dsn_reader_end(r[i]);
        if (!run.quiet)
            alike &= reads_alike(mails[i], report);
        alarm(0);
        show(report);
    }
    labels = label_of(path);
    if (run.quiet && labels)
        judge_labels(name, r, nmails, labels);
    else if (run.quiet)
        (void)0;
    else if (!alike)
        OK(false, "%s: reads otherwise with other line ends or in pieces", name);
    else if (strstr(path, "/not/"))
        OK(report->kind == DSN_KIND_NONE, "%s is no report (%s)", name,
           dsn_kind_name(report->kind));
    else if (labels)
        judge_labels(name, r, nmails, labels);
    else if (strstr(path, "/rfc5965/"))
        OK(report->kind == DSN_KIND_FEEDBACK, "%s is a complaint", name);
    else if (strstr(path, "/rfc3464/"))
        OK(report->machine && report->nrcpt, "%s is a report", name);
    else
        OK(true, "%s: %s of %u", name, dsn_kind_name(report->kind), report->nrcpt);
    for (unsigned i = 0; i < nmails; i++)
        dsn_reader_free(r[i]);
    buf_done(&file);
}

static const char *
option(int argc, char **argv, int *at, const char *name, const char *now)
{
    if (*at + 1 >= argc || strcmp(argv[*at], name) != 0)
        return now;
    *at += 2;
    return argv[*at - 1];
}

static void
figures(void)
{
    printf("# cases with labels %u, recipients disputed %u (which count as wrong)\n", sum.cases,
           sum.disputed);
    if (!run.held_out)
        suite_figure("recipients found", sum.found, sum.wanted);
    suite_figure("kind agrees", sum.kind, sum.rcpts);
    suite_figure("status agrees", sum.status, sum.rcpts);
    suite_figure("reply code agrees", sum.code, sum.rcpts);
    suite_figure("hard or soft agrees", sum.hard, sum.rcpts);
    suite_figure("class agrees", sum.class, sum.rcpts);
    suite_figure("wrong permanent suppressions", sum.suppressed, sum.soft);
    suite_figure("wrong retries of a block", sum.retried, sum.blocks);
}

static void
walk_all(char **paths)
{
    for (; *paths; paths++)
        suite_walk(*paths, one_file, NULL);
}

/* Only figures: what a pattern decides without having been written for it. */
static int
held_out(char **paths)
{
    run.quiet = run.held_out = true;
    walk_all(paths);
    printf("# patterns that only the other half's cases are known to need: %u\n",
           suite_half_forget(classes));
    memset(&sum, 0, sizeof sum);
    run.second = true;
    walk_all(paths);
    figures();
    return 0;
}

int
main(int argc, char **argv)
{
    const char *shuffle = NULL, *half = NULL;
    struct why why = {""};
    int at = 1, before;

    do {
        before = at;
        map_path = option(argc, argv, &at, "--map", map_path);
        disputed_path = option(argc, argv, &at, "--disputed", disputed_path);
        shuffle = option(argc, argv, &at, "--shuffle-hosts", shuffle);
        half = option(argc, argv, &at, "--held-out", half);
    } while (at != before);
    if (at >= argc || (shuffle && str_u64(str_c(shuffle), &run.shuffle_seed) < 0) ||
        (half && str_u64(str_c(half), &run.seed) < 0)) {
        fprintf(stderr, "usage: bounce_suite [--map FILE] [--disputed FILE] [--shuffle-hosts SEED] "
                        "[--held-out SEED] PATH...\n");
        return 2;
    }
    run.shuffle = shuffle != NULL;
    if (!suite_reason_read(map_path) || !suite_disputes_read(disputed_path))
        return 2;
    if (reply_classes_load(&classes, STR(""), &why) < 0) {
        fprintf(stderr, "the classes: %s\n", why.text);
        return 2;
    }
    if (half) {
        at = held_out(argv + at);
        reply_classes_free(classes);
        return at;
    }
    walk_all(argv + at);
    if (!tap_count_)
        tap_skip("mails", "there are none in what was named");
    figures();
    reply_classes_free(classes);
    return tap_done();
}
