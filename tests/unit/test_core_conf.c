/* tests/unit/test_core_conf.c - settings: values, errors, includes, printing. */
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/conf.h"
#include "tap.h"

struct main_conf {
    struct str hostname;
    bool flag;
    uint64_t count;
    uint64_t size;
    uint64_t wait;
    struct rate rate;
    int mode;
    uint64_t set;
    struct str text;
    struct str name;
    struct str path;
    struct conf_list texts;
    struct endpoint at;
    struct conf_list listen;
    struct addr addr;
    struct conf_list nets;
    struct conf_list waits;
    int64_t score;
    struct conf_list rule;
};
struct listen_conf {
    struct conf_list address;
    int kind;
};
struct spool_conf {
    struct str path;
    uint64_t size;
};

static const char *const modes[] = {"fast", "slow", "careful", NULL};
static const char *const sets[] = {"spf", "dkim", "dmarc", NULL};

#define ROW(n, kind, ...)                                                                          \
    {                                                                                              \
        .name = #n, CONF_ROW(kind, struct main_conf, n, __VA_ARGS__)                               \
    }
static const struct conf_row main_rows[] = {
    ROW(hostname, DOMAIN, .flags = CONF_REQUIRED, .doc = "Our name | in greetings."),
    ROW(flag, BOOL, .def = "yes"),
    ROW(count, U64, .def = "7", .min = 1, .max = 100),
    ROW(size, SIZE, .def = "10 MB", .min = 1024, .max = 1 << 30),
    ROW(wait, DURATION, .def = "5m", .min = 1000000000),
    ROW(rate, RATE, .def = "100/s burst 20"),
    ROW(mode, WORD, .words = modes, .def = "slow", .flags = CONF_RESTART),
    ROW(set, FLAGS, .words = sets, .def = "spf, dkim"),
    ROW(text, TEXT, .def = "\"a, \\\"b\\\"\"", .doc = ".starts with a dot\n'and a tick \\ slash"),
    ROW(name, NAME, .def = ""),
    ROW(path, PATH),
    ROW(texts, TEXTS),
    ROW(at, ENDPOINT, .min = 25),
    ROW(listen, ENDPOINTS, .min = 25),
    ROW(addr, ADDR),
    ROW(nets, PREFIXES),
    ROW(waits, DURATIONS, .def = "5m, 10m, 1h"),
    ROW(score, POINTS, .def = "none", .min = 500, .max = 10000),
    ROW(rule, LINES),
};
static const struct conf_row listen_rows[] = {
    {.name = "address",
     CONF_ROW(ENDPOINTS, struct listen_conf, address, .min = 25, .flags = CONF_REQUIRED)},
    {.name = "kind", CONF_ROW(WORD, struct listen_conf, kind, .words = modes)},
};
static const struct conf_row spool_rows[] = {
    {.name = "path", CONF_ROW(PATH, struct spool_conf, path, .def = "/var/spool/gapura")},
    {.name = "segment_size", CONF_ROW(SIZE, struct spool_conf, size, .def = "64 MB")},
};

static void
listen_check(const struct conf_section *s, struct conf_errors *errs)
{
    const struct listen_conf *l = s->data;

    if (l->address.n > 2)
        conf_fail(errs, s->file, s->line, "too many addresses");
}

static const struct conf_block main_block = {.name = "",
                                             .size = sizeof(struct main_conf),
                                             .rows = main_rows,
                                             .nrows = ARRAY_LEN(main_rows),
                                             .doc = "All else."};
static const struct conf_block listen_block = {.name = "listen",
                                               .labelled = true,
                                               .size = sizeof(struct listen_conf),
                                               .rows = listen_rows,
                                               .nrows = ARRAY_LEN(listen_rows),
                                               .check = listen_check};
static const struct conf_block spool_block = {.name = "spool",
                                              .size = sizeof(struct spool_conf),
                                              .rows = spool_rows,
                                              .nrows = ARRAY_LEN(spool_rows)};
static const struct conf_block *const blocks[] = {&main_block, &listen_block, &spool_block};

static struct conf_texts texts;
static struct conf_errors errs;

static struct conf *
parse(const char *text)
{
    struct conf *c;

    conf_errors_done(&errs);
    texts.n = 1;
    texts.items[0] = (struct conf_text){STR("/etc/g/gapura.conf"), str_c(text)};
    conf_parse(&c, &texts, blocks, ARRAY_LEN(blocks), 5, &errs);
    return c;
}

static void
test_defaults(void)
{
    struct conf *c = parse("hostname = MX.Example.COM. # we\n");
    const struct main_conf *m;

    OK(c != NULL, "the least settings");
    if (!c)
        return;
    m = conf_get(c, "");
    TEXT(m->hostname, "mx.example.com", "domains are lower-cased");
    OK(m->flag && m->count == 7 && m->size == 10 << 20, "defaults of amounts");
    OK(m->wait == 300000000000u && m->rate.count == 100 && m->rate.burst == 20, "of times");
    OK(m->mode == 1 && m->set == 3, "of words");
    TEXT(m->text, "a, \"b\"", "of a quoted text");
    OK(m->path.n == 0 && m->listen.n == 0 && m->name.n == 0, "no default leaves zeroes");
    OK(m->waits.n == 3 && ((const uint64_t *)m->waits.items)[2] == 3600000000000u, "of a list");
    TEXT(((const struct spool_conf *)conf_get(c, "spool"))->path, "/var/spool/gapura",
         "a block that no file names exists");
    OK(conf_first(c, "listen") == NULL, "a labelled one does not");
    OK(conf_first(c, "")->set == 1, "what was set is known");
    IS(c->generation, 5, "generation");
    conf_free(c);
}

static void
test_values(void)
{
    struct conf *c = parse("\xef\xbb\xbf# bom?\n");
    const struct main_conf *m;
    const struct endpoint *e;
    const struct prefix *p;
    const struct str *s;

    OK(c == NULL, "a byte order mark is no name");
    c = parse("# first\r\n\r\n\thostname=a.b\r\n"
              "flag = OFF\n"
              "count = 100\n"
              "size = 1024\n"
              "wait = 1d\n"
              "rate = none\n"
              "mode = Careful\n"
              "set = none\n"
              "text = plain words  # comment\n"
              "name = \"a-b_c.1\"\n"
              "path = data/x\n"
              "texts = one, \"two, # and \\\\ \\n\" , three#\n");
    OK(c == NULL, "a # inside a word is refused");
    c = parse("hostname=a.b\r\nflag = OFF\ncount = 100\nsize = 1024\nwait = 1d\nrate = none\n"
              "mode = Careful\nset = none\ntext = plain words  # comment\nname = \"a-b_c.1\"\n"
              "path = data/x\ntexts = one, \"two, # and \\\\ \\n\" , three #\n"
              "at = 127.0.0.1\nlisten = 0.0.0.0:25, [::]:587\naddr = ::1\n"
              "nets = 10.0.0.0/8,2001:db8::/32\nwaits = \"\"\n"
              "listen smtp {\n address = 0.0.0.0 # x\n kind = fast\n}\n"
              "listen \"sub mission\" { # y\n address = [::]:587\n}\n"
              "spool {\n}\nspool {\n path = q\n}");
    OK(c != NULL, "values of all types");
    if (!c)
        return;
    m = conf_get(c, "");
    OK(!m->flag && m->count == 100 && m->size == 1024 && m->wait == 86400000000000u, "amounts");
    OK(m->rate.count == 0 && m->rate.period_ns == 0 && m->mode == 2 && m->set == 0, "none");
    TEXT(m->text, "plain words", "bare text ends at its comment");
    TEXT(m->path, "/etc/g/data/x", "a path is relative to its file");
    s = m->texts.items;
    IS(m->texts.n, 3, "three texts");
    TEXT(s[1], "two, # and \\ \n", "escapes");
    TEXT(s[2], "three", "last");
    IS(m->at.port, 25, "default port");
    e = m->listen.items;
    OK(m->listen.n == 2 && e[1].port == 587, "endpoints");
    p = m->nets.items;
    OK(m->nets.n == 2 && p[0].bits == 104 && p[1].bits == 32, "networks");
    OK(addr_is_loopback(&m->addr) && m->waits.n == 0, "address, empty list");
    const struct conf_section *l = conf_first(c, "listen");
    TEXT(l->label, "smtp", "first label");
    IS(l->line, 18, "line");
    TEXT(conf_next(l)->label, "sub mission", "second label");
    OK(conf_next(conf_next(l)) == NULL, "no more");
    OK(conf_find(c, "listen", STR("sub mission")) == conf_next(l), "found by label");
    OK(conf_find(c, "listen", STR("x")) == NULL, "not found");
    TEXT(((const struct spool_conf *)conf_get(c, "spool"))->path, "/etc/g/q",
         "an unlabelled block may be opened again");
    conf_free(c);
}

/* One line behind a good hostname must give exactly this error. */
static void
test_lines(void)
{
    struct conf *c = parse("hostname = a.b\nscore = -4.5\nrule = one\nrule = two, three\n"
                           "rule = \"\"\nflag = no\nrule = none");
    const struct conf_line *lines;
    const struct main_conf *m;

    OK(c != NULL, "a row of many lines");
    if (!c)
        return;
    m = conf_get(c, "");
    lines = m->rule.items;
    IS(m->score, -450, "points");
    if (!OK(m->rule.n == 4, "four elements"))
        return;
    TEXT(lines[2].text, "three", "in their order");
    OK(lines[0].line == 3 && lines[2].line == 4 && lines[3].line == 7, "each with its line");
    TEXT(lines[3].file, "/etc/g/gapura.conf", "and file");
    TEXT(lines[3].text, "none", "none is a text here");
    conf_free(c);
    c = parse("hostname = a.b\nscore = none\n");
    IS(c ? ((const struct main_conf *)conf_get(c, ""))->score : 0, CONF_POINTS_NONE, "no points");
    conf_free(c);
}

static void
refuses(const char *text, unsigned line, const char *want)
{
    char whole[4096];
    struct conf *c;

    str_fmt(whole, sizeof(whole), "hostname = a.b\n%s\n", text);
    c = parse(whole);
    OK(c == NULL && errs.n == 1, "one error: %.30s", text);
    if (errs.n) {
        TEXT(errs.items[0].text, want, "says so");
        IS(errs.items[0].line, line, "at its line");
    }
    for (size_t i = 1; i < errs.n; i++)
        printf("# also: %.*s\n", STR_ARG(errs.items[i].text));
    conf_free(c);
}

static void
test_errors(void)
{
    refuses("hostnme = x", 2, "unknown row `hostnme`; did you mean `hostname`?");
    refuses("xyzzy = x", 2, "unknown row `xyzzy`");
    refuses("segment_size = 3", 2, "unknown row `segment_size`; it belongs into a block `spool`");
    refuses("spool {\ncount = 3\n}", 3,
            "unknown row `count` in block `spool`; it belongs outside of blocks");
    refuses("hostname = c.d", 2,
            "`hostname` is given a second time; the first is at /etc/g/gapura.conf:1");
    refuses("flag = maybe", 2, "`flag`: `maybe` is neither yes nor no");
    refuses("count = x", 2, "`count`: `x` is not a number; write for example 100");
    refuses("count = 101", 2, "`count`: 101 is too large; it must be from 1 to 100");
    refuses("count = 0", 2, "`count`: 0 is too small; it must be from 1 to 100");
    refuses("count = 99999999999999999999", 2,
            "`count`: `99999999999999999999` is too large for any computer");
    refuses("size = 10 XB", 2,
            "`size`: `10 XB` is not a size; write for example 64 KB, 10 MB or 1 GB");
    refuses("size = 2 GB", 2, "`size`: 2 GB is too large; it must be from 1.0 KB to 1.0 GB");
    refuses("wait = 10 parsec", 2,
            "`wait`: `10 parsec` is not a time span; write for example 250ms, 30s, 5m, 2h or 1d");
    refuses("wait = 10ms", 2, "`wait`: 10ms is too small; it must be at least 1s");
    refuses("rate = 100", 2,
            "`rate`: `100` is not a rate; write for example 100/s, 30/min, 100/s burst 20, or none "
            "for no limit");
    refuses("rate = 100/s burst x", 2,
            "`rate`: `100/s burst x` is not a rate; write for example 100/s, 30/min, 100/s burst "
            "20, or none for no limit");
    refuses("mode = carefull", 2,
            "`mode`: `carefull` is not one of: fast, slow, careful; did you mean `careful`?");
    refuses("set = spf, arc", 2, "`set`: `arc` is not one of: spf, dkim, dmarc");
    refuses("text = a, b", 2,
            "`text` takes one value, not a list; text with commas goes in quotes");
    refuses("name = a b", 2,
            "`name`: `a b` is not a name; it may have letters, digits, - _ and . "
            "only");
    refuses("at = :25", 2,
            "`at`: `:25` is not an address; write for example 192.0.2.1:25 or "
            "[2001:db8::1]:25 (0.0.0.0 and [::] for all)");
    refuses("addr = 300.1.1.1", 2,
            "`addr`: `300.1.1.1` is not an address; write for example 192.0.2.1 or 2001:db8::1");
    refuses("nets = 10.0.0.0/33", 2,
            "`nets`: `10.0.0.0/33` is not a network; write for example 192.0.2.0/24, "
            "2001:db8::/32 or a single address");
    refuses("waits = 5m,,6m", 2, "an empty element between commas");
    refuses("score = 1.234", 2,
            "`score`: `1.234` is not a number of points; write for example 5, 1.5 or none");
    refuses("score = -5.01", 2, "`score`: -5.01 points are too few");
    refuses("score = 101", 2, "`score`: 101 points are too many");
    refuses("waits = 5m,", 2, "an empty element between commas");
    refuses("text =", 2, "no value; write \"\" for an empty text");
    refuses("text = \"abc", 2, "quoted text without its closing quote");
    refuses("text = \"a\\t\"", 2, "unknown escape in quoted text; only \\\" \\\\ and \\n exist");
    refuses("text = \"a\" b", 2,
            "text behind a closing quote; lists have commas between their elements");
    refuses("text = a \"b\"", 2,
            "a quote inside bare text; put all of the text in quotes, with \\\" for a quote");
}

static void
test_block_errors(void)
{
    refuses("lisen x {\n foo = 1\n}", 2, "unknown block `lisen`; did you mean `listen`?");
    refuses("listen {\n}", 2, "block `listen` needs a label: listen NAME {");
    refuses("spool x {\n}", 2, "block `spool` takes no label; write spool {");
    refuses("listen a {\n}", 2,
            "`address` is missing in block `listen a`: write `address = ...` there");
    refuses("listen a {\n address = ::1\n}\nlisten a {\n}", 5,
            "a second `listen a`; the first is at /etc/g/gapura.conf:2");
    refuses("listen a {\n address = ::1, ::2, ::3\n}", 2, "too many addresses");
    refuses("spool {", 2, "block `spool` is not closed; its } is missing");
    refuses("}", 2, "a } without its {");
    refuses("spool { path = x }", 2,
            "text behind {; each row and the closing } have a line of their own");
    refuses("count 5", 2, "neither a row nor a block; write `count = value` or `count {`");
    refuses("count {\n}", 2, "`count` is a row, not a block; write `count = value`");
    refuses("= 5", 2, "a line begins with the name of a row or a block, not with `= 5`");
    refuses("text = a\x01z", 2, "a control character (byte 1)");
    refuses("text = \xff", 2, "not UTF-8 text");
    refuses("spool {\ninclude \"x\"\n}", 3,
            "an include inside block `spool`; it stands outside of blocks");

    struct conf *c = parse("count = x\nmode = y\nlisten a {\nknd = 1\n}\n");
    OK(c == NULL, "many errors");
    IS(errs.n, 5, "all of them are told");
    TEXT(errs.items[3].text, "`hostname` is missing: write `hostname = ...`", "required row");
    TEXT(errs.items[0].file, "/etc/g/gapura.conf", "file");
}

static void
test_bad_default(void)
{
    static const struct conf_row rows[] = {
        {.name = "size", CONF_ROW(SIZE, struct spool_conf, size, .def = "lots")}};
    static const struct conf_block block = {
        .name = "bad", .size = sizeof(struct spool_conf), .rows = rows, .nrows = 1};
    static const struct conf_block *const bad[] = {&block};
    struct conf_texts none = {.n = 0};
    struct conf *c;

    conf_errors_done(&errs);
    conf_parse(&c, &none, bad, 1, 0, &errs);
    OK(c == NULL && errs.n == 1, "a default that does not parse is found");
    TEXT(errs.items[0].file, "built-in default", "and named");
    conf_errors_done(&errs);
    conf_parse(&c, &none, NULL, 0, 0, &errs);
    OK(c != NULL, "no blocks and no files are fine");
    conf_free(c);
}

static char dir[] = "/tmp/gapura-conf-XXXXXX";

static void
write_file(const char *name, const char *text)
{
    char path[200];
    FILE *f;

    str_fmt(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "we");
    if (f) {
        fputs(text, f);
        fclose(f);
    }
}

static struct conf *
load(const char *name)
{
    struct conf *c;
    char path[200];

    str_fmt(path, sizeof(path), "%s/%s", dir, name);
    conf_errors_done(&errs);
    conf_texts_done(&texts);
    conf_load(&texts, path, &errs);
    conf_parse(&c, &texts, blocks, ARRAY_LEN(blocks), 0, &errs);
    for (size_t i = 0; i < errs.n; i++)
        printf("# %.*s:%u: %.*s\n", STR_ARG(errs.items[i].file), errs.items[i].line,
               STR_ARG(errs.items[i].text));
    return c;
}

static bool
first_error_ends(const char *end)
{
    return errs.n && str_ends(errs.items[0].text, str_c(end));
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void
test_files(void)
{
    char path[200];
    struct conf *c;

    if (!mkdtemp(dir))
        return;
    str_fmt(path, sizeof(path), "%s/conf.[d]", dir); /* characters that globs know */
    mkdir(path, 0700);
    write_file("conf.[d]/20-b.conf", "listen b {\naddress = ::1\n}\ninclude \"sub.conf\"\n");
    write_file("conf.[d]/10-a.conf", "listen a {\naddress = ::1\n}\nspool {\npath = here\n}\n");
    write_file("conf.[d]/sub.conf", "listen sub {\naddress = ::1\n}\n");
    write_file("main.conf", "hostname = a.b\ninclude \"conf.\\\\[d]/[0-9]*.conf\"\n"
                            "include none-*.conf\nlisten z {\naddress = ::1\n}\n");
    c = load("main.conf");
    OK(c != NULL, "a tree of files");
    if (c) {
        const char *const order[] = {"a", "b", "sub", "z"};
        const struct conf_section *s = conf_first(c, "listen");

        for (size_t i = 0; i < ARRAY_LEN(order); i++, s = s ? conf_next(s) : NULL)
            TEXT(s ? s->label : STR_NONE, order[i], "sections stand where the include does: %zu",
                 i);
        str_fmt(path, sizeof(path), "%s/conf.[d]/here", dir);
        TEXT(((const struct spool_conf *)conf_get(c, "spool"))->path, path, "paths, too");
        IS(texts.n, 4, "four files");
    }
    conf_free(c);

    write_file("ring.conf", "hostname = a.b\ninclude ring2.conf\n");
    write_file("ring2.conf", "include ring.conf\n");
    OK(load("ring.conf") == NULL && errs.n == 1, "a ring is found");
    OK(first_error_ends("/ring.conf` includes itself; remove one of the includes"), "and told");
    IS(errs.items[0].line, 1, "with the line of the include");
    write_file("gone.conf", "hostname = a.b\n\ninclude nowhere.conf\n");
    OK(load("gone.conf") == NULL && errs.n == 1 && errs.items[0].line == 3, "a missing file");
    OK(first_error_ends("/nowhere.conf`"), "is named");
    OK(load("nothing.conf") == NULL && errs.n >= 1, "no file at all");
    OK(first_error_ends("No such file or directory"), "is told");
    write_file("dir.conf", "hostname = a.b\ninclude \".\"\n");
    OK(load("dir.conf") == NULL && first_error_ends("is not a regular file"), "a directory");
    write_file("list.conf", "hostname = a.b\ninclude a, b\n");
    OK(load("list.conf") == NULL && errs.n == 1, "an include of two");
    for (int i = 0; i < 30; i++) {
        char name[32], text[64];

        str_fmt(name, sizeof(name), "deep%d.conf", i);
        str_fmt(text, sizeof(text), "include deep%d.conf\n", i + 1);
        write_file(name, text);
    }
    OK(load("deep0.conf") == NULL && first_error_ends("deeper than 16 files"), "too deep");
    conf_errors_done(&errs);
    conf_texts_done(&texts);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void
test_print(void)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    conf_print_markdown(&b, blocks, ARRAY_LEN(blocks));
    OK(str_find(buf_view(&b), STR("\n\n## Main block\n\nAll else.\n\n| name | type | default | "
                                  "meaning |\n|---|---|---|---|\n| `hostname` | domain name | "
                                  "required | Our name \\| in greetings. |\n")) > 0 &&
           str_starts(buf_view(&b), STR("# Settings\n")),
       "markdown begins");
    OK(str_find(buf_view(&b), STR("\n| `size` | size, 1.0 KB to 1.0 GB | `10 MB` |  |\n")) > 0,
       "bounds");
    OK(str_find(buf_view(&b), STR("| `mode` | one of fast, slow, careful | `slow` |  Takes effect "
                                  "at the next start. |\n")) > 0,
       "words");
    OK(str_find(buf_view(&b), STR("\n## `listen LABEL { }`\n")) > 0, "labelled block");
    buf_clear(&b);
    conf_print_man(&b, blocks, ARRAY_LEN(blocks));
    OK(str_starts(buf_view(&b), STR(".Sh SETTINGS\n.Ss Main block\nAll else.\n.Bl -tag -width Ds\n"
                                    ".It Ic \"\\&hostname\"\ndomain name; required.\n")),
       "manual begins");
    OK(str_find(buf_view(&b), STR("\n\\&.starts with a dot\n\\&'and a tick \\e slash\n")) > 0,
       "text cannot be a request");
    OK(!b.failed, "all fits");
    buf_done(&b);
}

int
main(void)
{
    test_defaults();
    test_values();
    test_lines();
    test_errors();
    test_block_errors();
    test_bad_default();
    test_files();
    test_print();
    conf_errors_done(&errs);
    return tap_done();
}
