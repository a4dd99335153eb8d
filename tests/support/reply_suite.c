/*
 * tests/support/reply_suite.c - runs collections of SMTP replies through the classifier: a TAP line
 * a case, then the figures.
 *
 *     build/tests/reply_suite [--shuffle-hosts SEED] [--map FILE] [--disputed FILE] PATH...
 *
 * Takes tables with a header of three forms: file, status, reason, hard, reply (replies-sisimai);
 * reply, action, category (replies-zonemta); reply, class, hard (tests/data/replies-field.tsv).
 * tests/data/reason-map.txt says which classes agree with a label; cases of
 * docs/disputed/replies.txt count as skipped. --shuffle-hosts puts other hosts and addresses into
 * the replies first: what a server says must mean the same to others. Hosts that patterns know
 * (spamhaus.org) and URLs stay.
 */
#include <stdlib.h>

#include "courier/reply_class_inner.h"
#include "suite_file.h"
#include "tap.h"

#define LABELS_MAX  128u
#define COLUMNS_MAX 16u

struct label {
    struct str set, name;
    bool block;
    uint64_t classes; /* bits */
};
static struct {
    struct buf map, disputed;
    struct label labels[LABELS_MAX];
    unsigned nlabels;
    struct reply_classes *set;
    bool shuffle;
    uint64_t seed;
} suite;

static struct {
    unsigned cases, skipped, hard_good, hard_all, class_good, class_all;
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

static struct str
disputed(struct str name)
{
    struct str line, rest = buf_view(&suite.disputed);

    while (rest.n > 0) {
        line = str_cut(rest, '\n', &rest);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (str_eq(field(&line), name))
            return line;
    }
    return STR_NONE;
}

/* ---- other hosts and addresses ---- */

static unsigned
dice(unsigned n)
{
    suite.seed = suite.seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(suite.seed >> 33) % n;
}

static void
put_name(struct buf *b, unsigned letters)
{
    for (unsigned i = 0; i < letters; i++)
        buf_char(b, (char)('a' + dice(26)));
}

static void
put_host(struct buf *b)
{
    put_name(b, 2 + dice(6));
    buf_char(b, '.');
    put_name(b, 3 + dice(8));
    buf_c(b, dice(2) ? ".example" : ".co.test");
}

static bool
host_is_known(struct str host)
{
    char lower[256];

    if (!str_copy(host, lower, sizeof lower))
        return false;
    str_lower(lower, host.n);
    for (struct str at = str_of(lower, host.n); at.n > 0;) {
        ssize_t dot = str_chr(at, '.');
        if (map_get(&suite.set->names, at))
            return true;
        if (dot < 0)
            return false;
        at = str_from(at, (size_t)dot + 1);
    }
    return false;
}

static bool
is_ip(struct str s)
{
    unsigned dots = 0;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '.' && (s.p[i] < '0' || s.p[i] > '9'))
            return false;
        dots += s.p[i] == '.';
    }
    return dots == 3 && s.n >= 7;
}

static void
put_other(struct buf *b, struct str s)
{
    ssize_t at = str_rchr(s, '@');

    if (str_find(s, STR("://")) >= 0) {
        buf_str(b, s);
    } else if (at > 0 && (size_t)at + 1 < s.n && str_chr(s, ':') < 0) {
        put_name(b, 3 + dice(9));
        buf_char(b, '@');
        put_host(b);
    } else if (is_ip(s)) {
        buf_fmt(b, "%u.%u.%u.%u", 1 + dice(223), dice(256), dice(256), 1 + dice(254));
    } else if (reply_text_is_host(s) && !host_is_known(s)) {
        put_host(b);
    } else {
        buf_str(b, s);
    }
}

static struct str
shuffled(struct str reply, struct buf *b)
{
    buf_clear(b);
    for (size_t i = 0; i < reply.n;) {
        size_t n = 0;
        while (i + n < reply.n && !strchr(" \t\r\n<>()[]{}\",;|'", reply.p[i + n]))
            n++;
        if (n > 0) {
            struct str s = str_sub(reply, i, n), tail = STR_NONE;
            while (s.n > 0 && strchr(".:", s.p[s.n - 1])) {
                s.n--;
                tail = str_sub(reply, i + s.n, n - s.n);
            }
            put_other(b, s);
            buf_str(b, tail);
        } else {
            buf_char(b, reply.p[i]);
            n = 1;
        }
        i += n;
    }
    return buf_view(b);
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

static void
run_case(const struct one *c)
{
    static struct buf other;
    struct reply_input in = {.text = c->reply, .enhanced = c->enhanced, .phase = c->phase};
    struct reply_class_result r;
    struct str reason = disputed(c->name);
    bool class_good, hard_good;
    char name[160];

    if (!other.max)
        buf_init(&other, 64 << 10);
    if (suite.shuffle)
        in.text = shuffled(c->reply, &other);
    in.domain = domain_of(in.text);
    reply_classify(suite.set, &in, &r);
    str_fmt(name, sizeof name, "%.*s", STR_ARG(str_sub(c->name, 0, 150)));
    if (reason.n > 0) {
        char why[400];
        str_fmt(why, sizeof why, "%.*s", STR_ARG(reason));
        sum.skipped++;
        tap_skip(name, why);
        return;
    }
    class_good = c->label && c->label->classes & UINT64_C(1) << r.class;
    hard_good = c->hard < 0 || c->hard == r.hard;
    count(c, &r, class_good, hard_good);
    if (OK(class_good && hard_good, "%s", name))
        return;
    printf("#   label %.*s, %s; got %s, %s, by %.*s\n#   %.*s\n",
           c->label ? (int)c->label->name.n : 1, c->label ? c->label->name.p : "?",
           c->hard < 0 ? "-"
           : c->hard   ? "hard"
                       : "soft",
           reply_class_name(r.class), r.hard ? "hard" : "soft", STR_ARG(r.pattern),
           STR_ARG(in.text));
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
        c.phase = REPLY_PHASE_RCPT; /* our own are what servers say to RCPT */
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
figure(const char *what, unsigned good, unsigned all)
{
    printf("# %-34s %u of %u (%.1f %%)\n", what, good, all, all ? 100.0 * good / all : 0.0);
}

static void
figures(void)
{
    printf("# cases %u, disputed %u\n", sum.cases, sum.skipped);
    figure("hard or soft agrees", sum.hard_good, sum.hard_all);
    figure("class agrees", sum.class_good, sum.class_all);
    figure("wrong permanent suppressions", sum.suppressed, sum.soft);
    figure("wrong retries of a block", sum.retried, sum.blocks);
    figure("blocks sent elsewhere", sum.elsewhere, sum.blocks);
    if (sum.actions)
        figure("try again or give up agrees", sum.actions_good, sum.actions);
}

static const char *
option(int argc, char **argv, int *at, const char *name, const char *now)
{
    if (*at + 1 >= argc || strcmp(argv[*at], name) != 0)
        return now;
    *at += 2;
    return argv[*at - 1];
}

int
main(int argc, char **argv)
{
    const char *map = "tests/data/reason-map.txt", *quarrels = "docs/disputed/replies.txt";
    const char *seed = NULL;
    struct why why = {""};
    int at = 1, before;

    do {
        before = at;
        seed = option(argc, argv, &at, "--shuffle-hosts", seed);
        map = option(argc, argv, &at, "--map", map);
        quarrels = option(argc, argv, &at, "--disputed", quarrels);
    } while (at != before);
    if (at >= argc) {
        fprintf(stderr, "usage: reply_suite [--shuffle-hosts SEED] [--map FILE] [--disputed FILE] "
                        "PATH...\n");
        return 2;
    }
    suite.shuffle = seed && str_u64(str_c(seed), &suite.seed) == 0;
    if (!map_read(map)) {
        fprintf(stderr, "%s cannot be used\n", map);
        return 2;
    }
    (void)suite_read(quarrels, &suite.disputed);
    if (reply_classes_load(&suite.set, STR_NONE, &why) < 0) {
        fprintf(stderr, "%s\n", why.text);
        return 2;
    }
    for (; at < argc; at++)
        suite_walk(argv[at], run_file, NULL);
    figures();
    reply_classes_free(suite.set);
    buf_done(&suite.map);
    buf_done(&suite.disputed);
    return tap_done();
}
