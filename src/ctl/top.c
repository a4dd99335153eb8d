/*
 * ctl/top.c - `gapura top`: counters, roles and destinations, in a screen that refreshes.
 *
 * Called by main.c. A role that does not answer leaves its part empty and says so; the screen goes
 * on, since that is when people look at it.
 */
#include "ctl/top.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/str.h"
#include "ctl/client.h"
#include "ctl/print.h"

#define WAIT_S 5u

struct frame {
    json_t *metrics; /* one object, or NULL */
    json_t *roles, *sites;
    uint64_t at;
    char problem[3][256];
};

static volatile sig_atomic_t ended;

static void
on_signal(int signo UNUSED)
{
    ended = 1;
}

static bool
keep_line(void *ctx, json_t *line)
{
    json_array_append(ctx, line);
    return true;
}

static json_t *
ask(const char *run_dir, enum ctl_role role, const char *wire, const json_t *filters,
    char problem[256])
{
    json_t *lines = json_array(), *args = filters ? json_deep_copy(filters) : json_object();
    struct client_reply reply = {.line = keep_line, .ctx = lines};
    struct why why = {{0}};

    problem[0] = '\0';
    if (client_call(run_dir, role, wire, args, WAIT_S, &reply, &why) < 0)
        str_fmt(problem, 256, "%s", why.text);
    else if (reply.end)
        str_fmt(problem, 256, "%s", reply.text);
    json_decref(args);
    return lines;
}

static void
take_frame(struct frame *f, const char *run_dir, const json_t *filters)
{
    json_t *metrics = ask(run_dir, CTL_SUPERVISOR, "metrics", NULL, f->problem[0]);

    f->metrics = json_incref(json_array_get(metrics, 0));
    json_decref(metrics);
    f->roles = ask(run_dir, CTL_SUPERVISOR, "status", NULL, f->problem[1]);
    f->sites = ask(run_dir, CTL_COURIER, "top.courier", filters, f->problem[2]);
    f->at = clock_mono();
}

static void
frame_done(struct frame *f)
{
    json_decref(f->metrics);
    json_decref(f->roles);
    json_decref(f->sites);
    *f = (struct frame){0};
}

/* A counter by its name, with or without the exporter's prefix. */
static bool
metric(const struct frame *f, const char *name, double *ret)
{
    const char *key;
    json_t *value;

    json_object_foreach(f->metrics, key, value)
    {
        if (!str_ends(str_c(key), str_c(name)) || !json_is_number(value))
            continue;
        *ret = json_number_value(value);
        return true;
    }
    return false;
}

struct cell {
    const char *title, *name;
    bool rate; /* a counter: shown per second once there are two frames */
};

static void
print_cell(const struct cell *c, const struct frame *f, const struct frame *before)
{
    double now, then, seconds = (double)(f->at - before->at) / (double)NS_PER_S;

    if (!metric(f, c->name, &now))
        return;
    if (c->rate && before->metrics && seconds > 0 && metric(before, c->name, &then))
        printf("  %s %.1f/s (%.0f)", c->title, MAX(now - then, 0.0) / seconds, now);
    else
        printf("  %s %.0f", c->title, now);
}

static void
print_metrics(const struct frame *f, const struct frame *before)
{
    static const struct {
        const char *title;
        struct cell cells[5];
    } rows[] = {
        {"in ",
         {{"sessions", "smtp_sessions", false},
          {"connections", "smtp_connections_total", true},
          {"accepted", "messages_accepted_total", true},
          {"refused", "recipients_refused_total", true},
          {"put off", "messages_deferred_inbound_total", true}}},
        {"wait",
         {{"messages", "queue_messages", false},
          {"recipients", "queue_recipients", false},
          {"held", "queue_held", false},
          {"segments", "spool_segments_used", false},
          {"free", "spool_segments_free", false}}},
        {"out",
         {{"sessions", "delivery_sessions", false},
          {"delivered", "recipients_delivered_total", true},
          {"retried", "recipients_deferred_total", true},
          {"bounced", "recipients_bounced_total", true},
          {"unknown", "recipients_unknown_total", true}}},
    };

    for (size_t i = 0; f->metrics && i < ARRAY_LEN(rows); i++) {
        printf("%-4s", rows[i].title);
        for (size_t j = 0; j < ARRAY_LEN(rows[i].cells); j++)
            print_cell(&rows[i].cells[j], f, before);
        printf("\n");
    }
}

static void
print_lines(const json_t *lines, const struct ctl_verb *verb, size_t limit)
{
    struct print_table table;
    size_t i;
    json_t *row;

    print_table_init(&table, stdout, verb);
    json_array_foreach(lines, i, row)
    {
        if (i >= limit)
            break;
        print_table_row(&table, row);
    }
    print_table_end(&table);
    if (json_array_size(lines) > limit)
        printf("... and %zu more\n", json_array_size(lines) - limit);
}

static const struct ctl_verb *
verb_of(const char *wire)
{
    for (size_t i = 0; i < ctl_nverbs; i++)
        if (ctl_verbs[i].wire && !strcmp(ctl_verbs[i].wire, wire))
            return &ctl_verbs[i];
    return NULL;
}

static size_t
screen_rows(void)
{
    struct winsize size;

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 10 ? size.ws_row : 40;
}

static void
print_frame(const struct frame *f, const struct frame *before, const struct ctl_verb *top, bool all)
{
    char iso[32];
    size_t roles = json_array_size(f->roles), rows = screen_rows();
    size_t left = rows > roles + 12 ? rows - roles - 12 : 5;

    clock_iso(clock_wall(), iso);
    printf("gapura  %.19s UTC\n\n", iso);
    print_metrics(f, before);
    printf("\n");
    print_lines(f->roles, verb_of("status"), SIZE_MAX);
    printf("\n");
    print_lines(f->sites, top, all ? SIZE_MAX : left);
    for (size_t i = 0; i < ARRAY_LEN(f->problem); i++) {
        if (!f->problem[i][0] || (i && !strcmp(f->problem[i], f->problem[i - 1])))
            continue;
        print_safe(stdout, f->problem[i]);
        printf("\n");
    }
    fflush(stdout);
}

static void
print_json(const struct frame *f)
{
    json_t *whole = json_pack("{s:O?, s:O, s:O}", "metrics", f->metrics, "roles", f->roles,
                              "destinations", f->sites);
    char *text = whole ? json_dumps(whole, JSON_COMPACT) : NULL;

    if (text)
        printf("%s\n", text);
    fflush(stdout);
    free(text);
    json_decref(whole);
}

int
top_main(const struct ctl_verb *verb, const char *run_dir, const struct args *a)
{
    struct frame before = {0}, now = {0};
    struct sigaction act = {.sa_handler = on_signal};
    bool screen = !a->once && !a->as_json && isatty(STDOUT_FILENO);
    int status = 0;

    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    if (screen)
        printf("\033[?1049h\033[?25l"); /* a screen of its own, without the cursor */
    while (!ended) {
        take_frame(&now, run_dir, a->json);
        if (screen)
            printf("\033[H\033[J");
        if (a->as_json)
            print_json(&now);
        else
            print_frame(&now, &before, verb, !screen);
        status = !now.metrics && !json_array_size(now.roles) && now.problem[2][0] ? 3 : 0;
        frame_done(&before);
        before = now;
        now = (struct frame){0};
        if (a->once || ferror(stdout))
            break;
        for (unsigned s = 0; s < a->interval_s && !ended; s++)
            (void)sleep(1);
    }
    frame_done(&before);
    if (screen)
        printf("\033[?25h\033[?1049l");
    return status;
}
