/*
 * tests/support/reply_suite.c - runs collections of SMTP replies through the classifier: a TAP line
 * a case, then the figures.
 *
 *     build/tests/reply_suite [--shuffle-hosts SEED] [--held-out SEED] [--map FILE]
 *                             [--disputed FILE] PATH...
 *
 * Takes tables with a header of three forms: file, status, reason, hard, reply (replies-sisimai);
 * reply, action, category (replies-zonemta); reply, class, hard (tests/data/replies-field.tsv),
 * where a column phase may say `unknown`. tests/data/reason-map.txt says which classes agree with a
 * label. A case that differs is printed with the digest of what it says; those of
 * docs/disputed/replies.txt count as skipped, but never as right in the figures. --shuffle-hosts
 * puts other hosts and addresses into the replies first: what a server says must mean the same to
 * others. --held-out measures a half of the cases without the patterns that decide in that half
 * alone.
 */
#include <stdlib.h>

#include "courier/reply_class_inner.h"
#include "suite_file.h"
#include "suite_reply.h"
#include "tap.h"

#define LABELS_MAX  128u
#define COLUMNS_MAX 16u

struct label {
    struct str set, name;
    bool block;
    uint64_t classes; /* bits */
};
static struct {
    struct buf map;
    struct label labels[LABELS_MAX];
    unsigned nlabels;
    struct reply_classes *set;
    bool shuffle, held_out, second; /* second: that half alone is counted */
    uint64_t shuffle_seed, seed;
} suite;

static struct {
    unsigned cases, disputed, hard_good, hard_all, class_good, class_all;
    unsigned suppressed, soft, blocks, retried, elsewhere, actions, actions_good;
} sum;

static struct str
field(struct str *line)
{
    return str_cut(*line, '\t', line);
}

/* ---- the map ---- */

/* 0: one of them is no class. */
static uint64_t
class_bits(struct str names)
{
    uint64_t bits = 0;

    for (struct str word = str_word(&names); word.n > 0; word = str_word(&names)) {
        int class = reply_law_class(word);
        if (class < 0) {
            fprintf(stderr, "no class %.*s\n", STR_ARG(word));
            return 0;
        }
        bits |= UINT64_C(1) << class;
    }
    return bits;
}

static bool
classes_are_refusals(uint64_t bits)
{
    for (uint8_t i = 0; i < REPLY_CLASS_COUNT; i++) {
        if (bits & UINT64_C(1) << i && !reply_class_is_refusal(i))
            return false;
    }
    return true;
}

static bool
map_line(struct str line)
{
    struct label *l = &suite.labels[suite.nlabels];
    struct str flag;

    if (line.n == 0 || line.p[0] == '#')
        return true;
    if (suite.nlabels == LABELS_MAX)
        return false;
    *l = (struct label){0};
    l->set = field(&line);
    l->name = field(&line);
    flag = field(&line);
    l->block = str_eq(flag, STR("block"));
    l->classes = class_bits(line);
    suite.nlabels++;
    return l->classes != 0;
}

static bool
map_read(const char *path)
{
    struct str rest;

    if (!suite_read(path, &suite.map))
        return false;
    rest = buf_view(&suite.map);
    while (rest.n > 0) {
        if (!map_line(str_cut(rest, '\n', &rest)))
            return false;
    }
    return true;
}

static const struct label *
label_of(const char *set, struct str name)
{
    for (unsigned i = 0; i < suite.nlabels; i++) {
        if (str_eq(suite.labels[i].set, str_c(set)) && str_eq(suite.labels[i].name, name))
            return &suite.labels[i];
    }
    return NULL;
}

/* Who was asked, as a courier would know it: the domain of the first address of the reply. */
static struct str
domain_of(struct str reply)
{
    ssize_t at = str_chr(reply, '@');
    size_t n = 0;
    struct str s = at < 0 ? STR_NONE : str_from(reply, (size_t)at + 1);

    while (n < s.n && !strchr(" \t<>()[]\",;:'", s.p[n]))
        n++;
    return str_sub(s, 0, n);
}

/* ---- cases ---- */

struct one {
    struct str name, reply, enhanced;
    uint8_t phase;
    const struct label *label;
    int hard;   /* -1: the label does not say */
    int action; /* 1: try again, 0: give up, -1: the label does not say */
};

static void
count(const struct one *c, const struct reply_class_result *r, bool class_good, bool hard_good)
{
    bool block = c->label && c->label->block;
    bool for_good = r->code == 0 || r->code >= 500;

    sum.cases++;
    sum.class_all++;
    sum.class_good += class_good;
    sum.hard_all += c->hard >= 0;
    sum.hard_good += c->hard >= 0 && hard_good;
    if (c->hard == 0) {
        sum.soft++;
        sum.suppressed +=
            r->advice.suppress != REPLY_SCOPE_NONE && r->advice.suppress_s == REPLY_FOREVER;
    }
    if (block) {
        sum.blocks++;
        sum.retried += (for_good && r->advice.retry != REPLY_RETRY_NO &&
                        r->class != REPLY_CLASS_RATE && r->class != REPLY_CLASS_TEMPORARY) ||
                       (r->advice.retry != REPLY_RETRY_NO && r->advice.other_source);
        sum.elsewhere += r->advice.other_source;
    } else if (c->action >= 0) {
        sum.actions++;
        sum.actions_good += c->action == (r->advice.retry != REPLY_RETRY_NO);
    }
}

/* The same words with the same label are the same case wherever they come from. */
static uint64_t
digest_of(const struct one *c)
{
    char label[300];

    str_fmt(label, sizeof label, "%.*s %d", STR_ARG(c->label ? c->label->name : STR_NONE), c->hard);
    return suite_digest(c->reply, c->enhanced, str_c(label));
}

static void
judge(const struct one *c, const struct reply_class_result *r, struct str text, uint64_t digest)
{
    bool class_good = c->label && c->label->classes & UINT64_C(1) << r->class;
    bool hard_good = c->hard < 0 || c->hard == r->hard;
    const char *reason = class_good && hard_good ? NULL : suite_dispute(digest);
    char name[160];

    count(c, r, class_good, hard_good);
    sum.disputed += reason != NULL;
    str_fmt(name, sizeof name, "%.*s", STR_ARG(str_sub(c->name, 0, 150)));
    if (reason)
        tap_skip(name, reason);
    else if (!suite.held_out)
        OK(class_good && hard_good, "%s", name);
    if (class_good && hard_good)
        return;
    printf(
        "#   %016llx label %.*s, %s; got %s, %s, by %.*s\n#   %.*s\n", (unsigned long long)digest,
        c->label ? (int)c->label->name.n : 1, c->label ? c->label->name.p : "?",
        c->hard < 0 ? "-"
        : c->hard   ? "hard"
                    : "soft",
        reply_class_name(r->class), r->hard ? "hard" : "soft", STR_ARG(r->pattern), STR_ARG(text));
}

static void
run_case(const struct one *c)
{
    struct reply_input in = {.text = c->reply, .enhanced = c->enhanced, .phase = c->phase};
    struct reply_class_result r;
    uint64_t digest = digest_of(c);
    bool second = suite_half(digest, suite.seed);

    if (suite.shuffle)
        in.text = suite_shuffled(suite.set, suite.shuffle_seed, c->reply);
    in.domain = domain_of(in.text);
    reply_classify(suite.set, &in, &r);
    if (suite.held_out && !suite.second)
        suite_half_decided(&r, second);
    if (!suite.held_out || (suite.second && second))
        judge(c, &r, in.text, digest);
}

/* Hard or soft, where all classes that agree are one of them. */
static int
hard_of(const struct label *l)
{
    int hard = -1;

    for (uint8_t i = 0; l && i < REPLY_CLASS_COUNT; i++) {
        if (!(l->classes & UINT64_C(1) << i))
            continue;
        if (hard >= 0 && hard != reply_class_is_hard(i))
            return -1;
        hard = reply_class_is_hard(i);
    }
    return hard;
}

/* Codes that sisimai makes up itself are its label again: x.0.9yz. */
static bool
is_made_up(struct str status)
{
    return status.n == 7 && str_eq(str_sub(status, 1, 4), STR(".0.9"));
}

static struct str
column(const struct str *heads, const struct str *values, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++) {
        if (str_eq(heads[i], str_c(name)))
            return values[i];
    }
    return STR_NONE;
}

static void
run_row(const struct str *heads, const struct str *values, unsigned n)
{
    struct str category = column(heads, values, n, "category");
    struct str action = column(heads, values, n, "action");
    struct str status = column(heads, values, n, "status");
    struct str hard = column(heads, values, n, "hard");
    struct str file = column(heads, values, n, "file");
    struct str classes = column(heads, values, n, "class");
    struct str phase = column(heads, values, n, "phase");
    struct label own;
    struct one c = {.reply = column(heads, values, n, "reply"), .action = -1};
    uint16_t said[3] = {0};
    struct reply_text t;

    if (c.reply.n == 0)
        return;
    c.name = file.n > 0 ? file : c.reply;
    c.label = category.n > 0 ? label_of("zonemta", category)
                             : label_of("sisimai", column(heads, values, n, "reason"));
    c.hard = hard_of(c.label);
    if (classes.n > 0) {
        own = (struct label){.name = classes, .classes = class_bits(classes)};
        own.block = classes_are_refusals(own.classes);
        c.label = &own;
        c.hard = -1;
        if (!str_eq(phase, STR("unknown"))) /* our own are what servers say to RCPT */
            c.phase = REPLY_PHASE_RCPT;
    }
    if (hard.n > 0 && !str_eq(hard, STR("-")))
        c.hard = str_eq(hard, STR("hard")) || str_eq(hard, STR("1")) || str_eq(hard, STR("true"));
    if (action.n > 0)
        c.action = !str_eq(action, STR("reject"));
    reply_text_read(&t, c.reply, NULL);
    reply_text_read(&t, c.reply, &suite.set->names);
    if (t.enhanced[0] == 0 && reply_text_enhanced(status, said) && !is_made_up(status))
        c.enhanced = status;
    run_case(&c);
}

static void
run_file(void *ctx, const char *path)
{
    struct buf text = {0};
    struct str rest, heads[COLUMNS_MAX], values[COLUMNS_MAX], line;
    unsigned n = 0;

    (void)ctx;
    if (!str_iends(str_c(path), STR(".tsv")))
        return;
    if (!suite_read(path, &text)) {
        OK(false, "%s can be read", path);
        return;
    }
    rest = buf_view(&text);
    line = str_cut(rest, '\n', &rest);
    while (line.n > 0 && n < COLUMNS_MAX)
        heads[n++] = field(&line);
    while (rest.n > 0) {
        line = str_cut(rest, '\n', &rest);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (line.n == 0)
            continue;
        for (unsigned i = 0; i < n; i++)
            values[i] = i + 1 == n ? line : field(&line);
        run_row(heads, values, n);
    }
    buf_done(&text);
}

static void
figures(void)
{
    printf("# cases %u, disputed %u (which count as wrong)\n", sum.cases, sum.disputed);
    suite_figure("hard or soft agrees", sum.hard_good, sum.hard_all);
    suite_figure("class agrees", sum.class_good, sum.class_all);
    suite_figure("wrong permanent suppressions", sum.suppressed, sum.soft);
    suite_figure("wrong retries of a block", sum.retried, sum.blocks);
    suite_figure("blocks sent elsewhere", sum.elsewhere, sum.blocks);
    if (sum.actions)
        suite_figure("try again or give up agrees", sum.actions_good, sum.actions);
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
walk_all(char **paths)
{
    for (; *paths; paths++)
        suite_walk(*paths, run_file, NULL);
}

static int
usage(void)
{
    fprintf(stderr, "usage: reply_suite [--shuffle-hosts SEED] [--held-out SEED] [--map FILE] "
                    "[--disputed FILE] PATH...\n");
    return 2;
}

int
main(int argc, char **argv)
{
    const char *map = "tests/data/reason-map.txt", *quarrels = "docs/disputed/replies.txt";
    const char *seed = NULL, *half = NULL;
    struct why why = {""};
    int at = 1, before;

    do {
        before = at;
        seed = option(argc, argv, &at, "--shuffle-hosts", seed);
        half = option(argc, argv, &at, "--held-out", half);
        map = option(argc, argv, &at, "--map", map);
        quarrels = option(argc, argv, &at, "--disputed", quarrels);
    } while (at != before);
    suite.shuffle = seed != NULL;
    suite.held_out = half != NULL;
    if (at >= argc || (seed && str_u64(str_c(seed), &suite.shuffle_seed) < 0) ||
        (half && str_u64(str_c(half), &suite.seed) < 0))
        return usage();
    if (!map_read(map)) {
        fprintf(stderr, "%s cannot be used\n", map);
        return 2;
    }
    if (!suite_disputes_read(quarrels))
        return 2;
    if (reply_classes_load(&suite.set, STR_NONE, &why) < 0) {
        fprintf(stderr, "%s\n", why.text);
        return 2;
    }
    walk_all(argv + at);
    if (suite.held_out) {
        printf("# patterns that only the other half's cases are known to need: %u\n",
               suite_half_forget(suite.set));
        suite.second = true;
        walk_all(argv + at);
    }
    figures();
    reply_classes_free(suite.set);
    buf_done(&suite.map);
    return suite.held_out ? 0 : tap_done();
}
