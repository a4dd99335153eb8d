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
#include "ctl/client.h"
#include "ctl/ctl.h"
#include "ctl/print.h"
#include "ctl/top.h"
#include "ctl/words.h"

#define ANSWER_WAIT_S 60u

static int (*read_run_dir)(const char *conf_file, char *dst, size_t cap, struct why *why);

void
ctl_set_run_dir_reader(int (*read)(const char *conf_file, char *dst, size_t cap, struct why *why))
{
    read_run_dir = read;
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

/* What was done, where a verb that changes something has no line of its own to tell. */
static void
print_json_text(const char *said)
{
    json_t *line = json_pack("{ss%}", "text", said, strlen(said));
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;

    puts(text ? text : "{}");
    free(text);
    json_decref(line);
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
    if (v->flags & CTL_STREAMS && isatty(STDERR_FILENO))
        fprintf(stderr, "waiting for sessions; Ctrl-C ends this\n");
    r = client_call(run_dir, v->role, v->wire, a->json, v->flags & CTL_STREAMS ? 0 : ANSWER_WAIT_S,
                    &reply, &why);
    if (out.table)
        print_table_end(&out.rows);
    fflush(stdout);
    if (r < 0) {
        fprintf(stderr, "gapura: %s\n", why.text);
        return 3;
    }
    if (a->as_json && !reply.end && !out.n && reply.text[0] && !(v->flags & CTL_LISTS)) {
        print_json_text(reply.text);
    } else if (reply.text[0] && (reply.end || !a->as_json)) {
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
run_verb(const struct ctl_verb *v, struct args *a)
{
    char run_dir[PATH_MAX];
    struct why why = {{0}};
    int status = find_run_dir(a, run_dir);

    if (status == 0 && v->flags & CTL_PASSWORD && args_password(a, &why) < 0) {
        fprintf(stderr, "gapura: %s\n", why.text);
        status = 2;
    }
    if (status == 0)
        status = strcmp(v->wire, "top.courier") ? call(v, run_dir, a) : top_main(v, run_dir, a);
    return status;
}

/* `gapura help VERB`: as `gapura VERB --help`. */
static int
help_main(int argc, char **argv)
{
    const struct ctl_verb *v;
    char *words[16] = {argv[0]};
    int used, n = 1;

    for (int i = 2; i < argc && argv[i][0] != '-' && n < (int)ARRAY_LEN(words) - 2; i++)
        words[n++] = argv[i];
    if (n == 1) {
        words_usage(stdout);
        return 0;
    }
    v = words_find(n, words, &used);
    if (v && used == n - 1) {
        words_help(v, stdout);
        return 0;
    }
    words[n++] = (char[]){"--help"}; /* on a group it is no mistake */
    return words_unknown(n, words);
}

int
ctl_main(int argc, char **argv)
{
    const struct ctl_verb *v;
    struct args a;
    int status;

    lang_set_from_environment();
    ctl_wipe_json();
    if (argc < 2) {
        words_usage(stderr);
        return 2;
    }
    if (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return help_main(argc, argv);
    if (!strcmp(argv[1], "--version") && argc == 2) {
        printf("gapura %s\n", CTL_VERSION);
        return 0;
    }
    v = words_take(argc, argv, &a, &status);
    if (!v)
        return status;
    if (!strcmp(v->words, "version")) {
        printf("gapura %s\n", CTL_VERSION);
        status = 0;
    } else {
        status = run_verb(v, &a);
    }
    args_done(&a);
    return status;
}
