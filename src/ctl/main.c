/*
 * ctl/main.c - the command line: finds the verb, checks its words, asks the role, prints.
 *
 * Called by roles/main.c for everything but `run`, `check` and roles. Exit status: 0 done, 1
 * refused or not found, 2 wrong usage, 3 the role cannot be reached.
 */
#include <limits.h>
#include <unistd.h>

#include "core/lang.h"
#include "core/str.h"
#include "ctl/args.h"
#include "ctl/client.h"
#include "ctl/ctl.h"
#include "ctl/print.h"
#include "ctl/top.h"

#define ANSWER_WAIT_S 60u

static int (*read_run_dir)(const char *conf_file, char *dst, size_t cap, struct why *why);

void
ctl_set_run_dir_reader(int (*read)(const char *conf_file, char *dst, size_t cap, struct why *why))
{
    read_run_dir = read;
}

bool
ctl_owns(const char *word)
{
    static const char *const others[] = {"help", "--help", "-h", "--version", "version"};

    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (!strcmp(word, others[i]))
            return true;
    for (size_t i = 0; i < ctl_nverbs; i++) {
        struct str rest = str_c(ctl_verbs[i].words);

        if (!(ctl_verbs[i].flags & CTL_LOCAL) && str_eq(str_word(&rest), str_c(word)))
            return true;
    }
    return false;
}

void
ctl_usage(FILE *to)
{
    fputs(lang_text("usage: gapura VERB [words and options]\n\n"), to);
    for (size_t i = 0; i < ctl_nverbs; i++) {
        const struct ctl_verb *v = &ctl_verbs[i];
        char left[64];

        str_fmt(left, sizeof(left), "%s%s%s", v->words, v->shown ? " " : "",
                v->shown ? v->shown : "");
        if (strlen(left) > 26)
            fprintf(to, "  %s\n  %26s %s\n", left, "", lang_text(v->help));
        else
            fprintf(to, "  %-26s %s\n", left, lang_text(v->help));
    }
    fputs(lang_text("\n`gapura VERB --help` shows options and an example; gapura(1) and\n"
                    "gapura.conf(5) tell the rest.\n"),
          to);
}

/* The verbs that begin with those words: "gapura queue" shows those of queue. */
static bool
list_group(struct str words, FILE *to)
{
    bool any = false;

    for (size_t i = 0; i < ctl_nverbs; i++) {
        struct str verb = str_c(ctl_verbs[i].words);

        if (!str_starts(verb, words) || verb.n == words.n || verb.p[words.n] != ' ')
            continue;
        any = true;
        fprintf(to, "  gapura %-21s %s\n", ctl_verbs[i].words, lang_text(ctl_verbs[i].help));
    }
    return any;
}

/* The words up to the first option. */
static struct str
typed_words(int n, char **words, char *dst, size_t cap)
{
    size_t at = 0;

    dst[0] = '\0';
    for (int i = 0; i < n && words[i][0] != '-'; i++)
        at += str_fmt(dst + at, cap - at, "%s%s", at ? " " : "", words[i]);
    return str_of(dst, at);
}

static int
unknown(int argc, char **argv)
{
    const char *near = ctl_verb_nearest(argc, argv);
    bool second = argc > 2 && argv[2][0] != '-' && ctl_owns(argv[1]), help = false;
    char room[128];
    struct str typed = typed_words(argc - 1, argv + 1, room, sizeof(room));

    for (int i = 1; i < argc; i++)
        help = help || !strcmp(argv[i], "--help") || !strcmp(argv[i], "-h");
    if (typed.n && list_group(typed, help ? stdout : stderr))
        return help ? 0 : 2;
    fprintf(stderr, "gapura: there is no verb `");
    print_safe(stderr, argv[1]);
    if (second) {
        fputc(' ', stderr);
        print_safe(stderr, argv[2]);
    }
    fprintf(stderr, "`%s%s%s; `gapura help` lists all\n", near ? "; did you mean `gapura " : "",
            near ? near : "", near ? "`?" : "");
    return 2;
}

int
ctl_unknown(const char *word)
{
    char *argv[] = {(char[]){"gapura"}, (char *)(uintptr_t)word, NULL};

    return unknown(2, argv);
}

/* 0 or an exit status. */
static int
find_run_dir(const struct args *a, char dst[PATH_MAX])
{
    struct why why = {{0}};
    int r = 0;

    if (a->run_dir || !a->conf)
        str_fmt(dst, PATH_MAX, "%s", a->run_dir ? a->run_dir : CTL_RUN_DIR);
    else if (read_run_dir)
        r = read_run_dir(a->conf, dst, PATH_MAX, &why);
    else
        r = why_set(&why, ERR_UNSUPPORTED, "settings cannot be read here; use --run-dir DIR");
    if (r == 0)
        return 0;
    fprintf(stderr, "gapura: %s\n", why.text);
    return 2;
}

struct output {
    const struct ctl_verb *verb;
    const char *run_dir;
    bool as_json, table;
    struct print_table rows;
    size_t n;
};

static bool
on_line(void *ctx, json_t *line)
{
    struct output *o = ctx;
    char *text;

    o->n++;
    if (o->as_json) {
        text = json_dumps(line, JSON_COMPACT | JSON_ENCODE_ANY);
        printf("%s\n", text ? text : "null");
        free(text);
    } else if (o->table) {
        print_table_row(&o->rows, line);
    } else if (o->verb->flags & CTL_STREAMS) {
        print_flow(stdout, line);
    } else {
        print_record(stdout, line, 0);
    }
    if (o->verb->flags & CTL_STREAMS)
        fflush(stdout);
    return !ferror(stdout);
}

struct health {
    const char *role;
    bool known, ready;
    long long restarts;
};

static bool
on_health(void *ctx, json_t *line)
{
    struct health *h = ctx;
    const char *name = json_string_value(json_object_get(line, "role"));

    if (name && !strcmp(name, h->role)) {
        h->known = true;
        h->ready = json_is_true(json_object_get(line, "ready"));
        h->restarts = json_integer_value(json_object_get(line, "restarts"));
    }
    return true;
}

/* The role keeps silent: a socket is there before its role has started, and while it fails to. */
static bool
on_still(void *ctx, struct why *why)
{
    struct output *o = ctx;
    struct health h = {.role = ctl_role_names[o->verb->role]};
    struct client_reply reply = {.line = on_health, .ctx = &h};
    struct why unsaid = {{0}};
    json_t *none;
    int r;

    if (o->n > 0 || o->verb->role == CTL_SUPERVISOR)
        return true;
    none = json_object();
    r = client_call(o->run_dir, CTL_SUPERVISOR, "status", none, CLIENT_STILL_S, &reply, &unsaid);
    json_decref(none);
    if (r < 0 || !h.known || h.ready)
        return true;
    if (h.restarts)
        (void)why_set(why, ERR_STATE,
                      "the %s is not ready: it was started %lld times and is tried again. The last "
                      "Alarm of the events says why; nothing was changed",
                      h.role, h.restarts + 1);
    else
        (void)why_set(why, ERR_STATE,
                      "the %s is still starting; ask again in a moment. Nothing was changed",
                      h.role);
    return false;
}

static int
call(const struct ctl_verb *v, const char *run_dir, const struct args *a)
{
    struct output out = {.verb = v,
                         .run_dir = run_dir,
                         .as_json = a->as_json,
                         .table = (v->flags & CTL_LISTS) && !a->as_json};
    struct client_reply reply = {.line = on_line, .still = on_still, .ctx = &out};
    struct why why = {{0}};
    int r;

    if (out.table)
        print_table_init(&out.rows, stdout, v);
    r = client_call(run_dir, v->role, v->wire, a->json, v->flags & CTL_STREAMS ? 0 : ANSWER_WAIT_S,
                    &reply, &why);
    if (out.table)
        print_table_end(&out.rows);
    fflush(stdout);
    if (r < 0) {
        fprintf(stderr, "gapura: %s\n", why.text);
        return 3;
    }
    if (reply.text[0] && (reply.end || !a->as_json)) {
        FILE *to = reply.end || out.n ? stderr : stdout;

        if (reply.end)
            fprintf(to, "gapura: ");
        print_said(to, reply.text);
    } else if (!out.n && !reply.end && out.table) {
        fprintf(stderr, "nothing\n");
    }
    return reply.end == 0 ? 0 : reply.end == 2 ? 2 : 1;
}

static int
run_verb(const struct ctl_verb *v, int argc, char **argv)
{
    char run_dir[PATH_MAX];
    struct args a;
    struct why why = {{0}};
    int status;

    if (args_parse(v, argc, argv, &a, &why) < 0) {
        fprintf(stderr, "gapura: %s\n", why.text);
        return 2;
    }
    if (a.help) {
        ctl_verb_help(v, stdout);
        args_done(&a);
        return 0;
    }
    status = find_run_dir(&a, run_dir);
    if (status == 0 && v->flags & CTL_PASSWORD && args_password(&a, &why) < 0) {
        fprintf(stderr, "gapura: %s\n", why.text);
        status = 2;
    }
    if (status == 0)
        status = strcmp(v->wire, "top.courier") ? call(v, run_dir, &a) : top_main(v, run_dir, &a);
    args_done(&a);
    return status;
}

void
ctl_help(const char *verb)
{
    char *argv[] = {(char[]){"gapura"}, (char *)(uintptr_t)verb, NULL};
    int used = 0;
    const struct ctl_verb *v = ctl_verb_find(2, argv, &used);

    lang_set_from_environment();
    if (v)
        ctl_verb_help(v, stdout);
}

int
ctl_main(int argc, char **argv)
{
    const struct ctl_verb *v;
    char room[128];
    int used = 0;

    lang_set_from_environment();
    ctl_wipe_json();
    if (argc < 2) {
        ctl_usage(stderr);
        return 2;
    }
    if (!strcmp(argv[1], "--version") || (!strcmp(argv[1], "version") && argc == 2)) {
        printf("gapura %s\n", CTL_VERSION);
        return 0;
    }
    if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        v = argc > 2 ? ctl_verb_find(argc - 1, argv + 1, &used) : NULL;
        if (v)
            ctl_verb_help(v, stdout);
        else if (argc == 2 ||
                 !list_group(typed_words(argc - 2, argv + 2, room, sizeof(room)), stdout))
            ctl_usage(stdout);
        return 0;
    }
    v = ctl_verb_find(argc, argv, &used);
    if (!v)
        return unknown(argc, argv);
    if (v->flags & CTL_LOCAL) { /* roles/main.c runs it; only its help is ours */
        ctl_verb_help(v, stdout);
        return 0;
    }
    return run_verb(v, argc - 1 - used, argv + 1 + used);
}
