/*
 * lab/lab.c - `gapura lab`: puts the files, starts providers and the gateway, tells, ends it all.
 *
 * Called by roles/main.c. The gateway is a child in a process group of its own, so that Ctrl-C
 * reaches this process alone, which then ends the gateway in order. If this process is killed the
 * kernel tells the gateway to stop.
 */
#include "lab/lab.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "ctl/client.h"
#include "ctl/words.h"
#include "lab/banner.h"
#include "lab/files.h"
#include "lab/follow.h"
#include "lab/provider.h"
#include "lab/tell.h"
#include "lab/warden.h"

#define READY_LOOK  (100 * NS_PER_MS)
#define READY_MOST  (60 * NS_PER_S)
#define ANSWER_WAIT 5u
#define ROOT_DIR    "/var/lib/gapura-lab"

struct lab {
    char dir[PATH_MAX], program[PATH_MAX];
    char settings[PATH_MAX]; /* the gateway's */
    char run_dir[PATH_MAX], events[PATH_MAX];
    char net[32];
    bool quiet, ready, stopping, failed;
    struct conf *conf;
    const struct settings_lab *own;
    struct loop *loop;
    struct loop_timer poll, sum;
    struct loop_io *keys;
    struct providers *providers;
    struct traffic *traffic;
    struct follow *follow;
    struct tell tell;
    struct banner banner;
    struct buf out;
    uint64_t started;
    pid_t child;
    struct warden warden;
    const struct lab_links *links;
};

static void
print_out(struct lab *l)
{
    fwrite(l->out.p, 1, l->out.n, stdout);
    fflush(stdout);
    buf_clear(&l->out);
}

/* --- words of the command line --- */

static bool
default_dir(char *dst, size_t cap)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

    if (geteuid() == 0)
        return str_fmt(dst, cap, "%s", ROOT_DIR) > 0;
    if (state && state[0] == '/')
        return str_fmt(dst, cap, "%s/gapura-lab", state) + 1 < cap;
    return home && home[0] == '/' &&
           str_fmt(dst, cap, "%s/.local/state/gapura-lab", home) + 1 < cap;
}

static bool
net_is_good(const char *net)
{
    char text[32];
    struct addr a;

    return str_fmt(text, sizeof(text), "%s.1", net) + 1 < sizeof(text) &&
           addr_parse(str_c(text), &a) == 0 && addr_is_v4(&a) && addr_is_loopback(&a);
}

/* 0, or an exit status + 1. */
static int
read_words(struct lab *l, const struct args *a)
{
    const char *dir = json_string_value(json_object_get(a->json, "dir"));
    const char *net = json_string_value(json_object_get(a->json, "net"));
    char cwd[PATH_MAX] = "", own[PATH_MAX] = "";
    size_t n;

    l->quiet = json_is_true(json_object_get(a->json, "quiet"));
    l->tell.all = json_is_true(json_object_get(a->json, "all"));
    str_fmt(l->net, sizeof(l->net), "%s", net ? net : "127.0.0");
    if (!net_is_good(l->net)) {
        fprintf(stderr,
                "gapura: --net: `%.60s` does not begin a loopback address; write for example "
                "127.5.6\n",
                net);
        return 3;
    }
    if (!dir && default_dir(own, sizeof(own)))
        dir = own;
    if (!dir || (dir[0] != '/' && !getcwd(cwd, sizeof(cwd)))) {
        fprintf(stderr, "gapura: name a directory for the lab: gapura lab DIR\n");
        return 3;
    }
    n = str_fmt(l->dir, sizeof(l->dir), "%s%s%s", cwd, cwd[0] ? "/" : "", dir);
    while (n > 1 && l->dir[n - 1] == '/')
        l->dir[--n] = 0;
    str_fmt(l->settings, sizeof(l->settings), "%.*s/gapura.conf", PATH_MAX - 32, l->dir);
    return 0;
}

/* --- the gateway --- */

static int
gateway_start(struct lab *l, struct why *why)
{
    const char *argv[] = {"gapura", "run", "-c", l->settings, NULL};
    pid_t parent = getpid();

    l->child = fork();
    if (l->child < 0)
        return why_set(why, -errno, "no process for the gateway: %s", err_text(-errno));
    if (l->child > 0)
        return 0;
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGTTIN, SIG_DFL);
    if (getppid() == parent)
        execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
    _exit(127);
}

static void
gateway_stop(struct lab *l)
{
    if (l->child > 0)
        warden_stop_gateway(&l->warden);
}

/* Who can still end the gateway, and clear its sockets away, when we are nobody any more: who asks
 * there then shall hear that nothing runs. */
static int
warden_begin(struct lab *l, struct why *why)
{
    static const enum ctl_role roles[] = {CTL_SUPERVISOR, CTL_KEEPER, CTL_COURIER, CTL_GATE};
    static char paths[ARRAY_LEN(roles)][PATH_MAX];
    static const char *list[ARRAY_LEN(roles)];

    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        str_fmt(paths[i], sizeof(paths[i]), "%.*s/%s.ctl", PATH_MAX - 32, l->run_dir,
                ctl_role_names[roles[i]]);
        list[i] = paths[i];
    }
    return warden_start(&l->warden, l->child, list, ARRAY_LEN(list), why);
}

static void
on_child(void *ctx, int signo)
{
    struct lab *l = ctx;
    int status;

    (void)signo;
    if (l->child <= 0 || waitpid(l->child, &status, WNOHANG) != l->child)
        return;
    l->child = 0;
    l->failed = !l->stopping || !WIFEXITED(status) || WEXITSTATUS(status);
    if (l->failed)
        fprintf(stderr,
                "gapura: the gateway of the lab ended by itself; accepted mail is safe in %s. "
                "`gapura check -c %s` finds mistakes in its settings\n",
                l->dir, l->settings);
    loop_stop(l->loop);
}

static void
on_stop(void *ctx, int signo)
{
    struct lab *l = ctx;

    (void)signo;
    if (!l->stopping)
        printf("\nstopping: sessions finish their message, what waits stays in %s\n", l->dir);
    fflush(stdout);
    l->stopping = true;
    traffic_flow(l->traffic, false);
    gateway_stop(l);
}

/* --- is it ready? --- */

struct readiness {
    unsigned rows, ready;
};

static bool
on_status(void *ctx, json_t *row)
{
    struct readiness *r = ctx;

    r->rows++;
    r->ready += !json_is_false(json_object_get(row, "ready"));
    return true;
}

static bool
gateway_ready(struct lab *l)
{
    struct readiness r = {0};
    struct client_reply reply = {.line = on_status, .ctx = &r};
    json_t *none = json_object();
    int rc = client_call(l->run_dir, CTL_SUPERVISOR, "status", none, ANSWER_WAIT, &reply, NULL);

    json_decref(none);
    return rc == 0 && reply.end == 0 && r.rows > 1 && r.ready == r.rows;
}

/* One that is there already is fine: the directory was used before. */
static void
add_login(struct lab *l, struct str login)
{
    struct client_reply reply = {0};
    struct why why = {{0}};
    json_t *args = json_pack("{s:s%, s:s%, s:s}", "login", login.p, login.n, "password",
                             l->own->password.p, l->own->password.n, "senders", "office.test");
    int rc = args ? client_call(l->run_dir, CTL_KEEPER, "user.add", args, ANSWER_WAIT, &reply, &why)
                  : ERR_NOMEM;

    json_decref(args);
    if (rc < 0)
        fprintf(stderr, "gapura: the login %.*s could not be added: %s\n", STR_ARG(login),
                why.text);
}

/* From here on strangers' bytes are all that there is to do. */
static bool
confined(struct lab *l)
{
    char mail[PATH_MAX], events[PATH_MAX];
    struct why why = {{0}};
    ssize_t at = str_rchr(str_c(l->events), '/');

    str_fmt(mail, sizeof(mail), "%.*s/mail", PATH_MAX - 32, l->dir);
    (void)str_copy(str_sub(str_c(l->events), 0, (size_t)MAX(at, 1)), events, sizeof(events));
    if (l->links->confine(mail, events, &why) == 0)
        return true;
    fprintf(stderr, "gapura: the lab cannot give up its rights, so it ends: %s\n", why.text);
    return false;
}

static void
on_ready(struct lab *l)
{
    bool flow = l->own->traffic && !l->quiet;

    l->ready = true;
    add_login(l, l->own->login);
    add_login(l, l->own->robot);
    if (!confined(l)) {
        l->failed = true;
        gateway_stop(l);
        return;
    }
    l->banner.traffic = flow;
    banner_put(&l->out, &l->banner);
    print_out(l);
    if (flow)
        traffic_flow(l->traffic, true);
    loop_timer_set(&l->sum, l->own->summary);
}

static void
on_poll(void *ctx)
{
    struct lab *l = ctx;

    if (l->ready || l->stopping)
        return;
    if (gateway_ready(l)) {
        on_ready(l);
    } else if (clock_mono() - l->started > READY_MOST) {
        fprintf(stderr, "gapura: the gateway was not ready within a minute; %s says why\n",
                l->events);
        l->failed = true;
        gateway_stop(l);
    } else {
        loop_timer_set(&l->poll, READY_LOOK);
    }
}

/* --- telling --- */

static void
on_event(void *ctx, const json_t *event)
{
    struct lab *l = ctx;
    char id[32];

    if (tell_event(&l->tell, event, &l->out, id) == TELL_OWN && id[0])
        banner_explain(&l->out, &l->banner, id);
    if (l->out.n)
        print_out(l);
}

static void
on_sum(void *ctx)
{
    struct lab *l = ctx;

    if (!l->tell.all)
        tell_sum(&l->tell, &l->out);
    if (l->out.n)
        print_out(l);
    loop_timer_set(&l->sum, l->own->summary);
}

static void
typed(struct lab *l, struct str word)
{
    bool on = str_eq(word, STR("on"));

    if (on || str_eq(word, STR("off"))) {
        traffic_flow(l->traffic, on);
        printf("sample mail %s\n", on ? "flows" : "is silent");
    } else if (str_eq(word, STR("all")) || str_eq(word, STR("sum"))) {
        l->tell.all = str_eq(word, STR("all"));
        printf("sample mail is shown %s\n", l->tell.all ? "line by line" : "as sums");
    } else if (word.n) {
        printf("on, off, all or sum; Ctrl-C ends\n");
    }
    fflush(stdout);
}

/* The terminal gives whole lines. The descriptor is shared with others and stays blocking. */
static void
on_keys(void *ctx, unsigned ready)
{
    struct lab *l = ctx;
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    char line[256];
    ssize_t n;

    (void)ready;
    while (poll(&p, 1, 0) > 0) {
        n = read(STDIN_FILENO, line, sizeof(line));
        if (n <= 0) {
            loop_io_free(l->keys);
            l->keys = NULL;
            return;
        }
        typed(l, str_trim(str_cut(str_of(line, (size_t)n), '\n', &(struct str){NULL, 0})));
    }
}

/* --- a run --- */

static int
read_settings(struct lab *l, struct why *why)
{
    static struct conf_texts texts;
    struct conf_errors errs = {0};
    char file[PATH_MAX];
    int rc = 0;

    str_fmt(file, sizeof(file), "%.*s/lab.conf", PATH_MAX - 32, l->dir);
    conf_load(&texts, file, &errs);
    if (!errs.n)
        conf_parse(&l->conf, &texts, lab_blocks, LAB_NBLOCKS, 1, &errs);
    for (size_t i = 0; i < errs.n; i++)
        fprintf(stderr, "%.*s:%u: %.*s\n", STR_ARG(errs.items[i].file), errs.items[i].line,
                STR_ARG(errs.items[i].text));
    if (!l->conf)
        rc = why_set(why, ERR_SYNTAX,
                     "the lab's own settings have errors; nothing was started. Mend them, or name "
                     "a new directory");
    conf_errors_done(&errs);
    conf_texts_done(&texts);
    if (!rc)
        l->own = conf_get(l->conf, "");
    return rc;
}

static int
prepare(struct lab *l, const struct lab_links *links, struct why *why)
{
    char mail[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", l->program, sizeof(l->program) - 1);
    int rc = lab_files_put(l->dir, l->net, why);

    l->program[MAX(n, 0)] = 0;
    str_fmt(mail, sizeof(mail), "%.*s/mail", PATH_MAX - 32, l->dir);
    if (!rc)
        rc = lab_files_reachable(l->dir, why);
    if (!rc)
        rc = read_settings(l, why);
    if (!rc)
        rc = links->paths(l->settings, l->run_dir, l->events, PATH_MAX, why);
    if (!rc)
        rc = providers_start(&l->providers, l->loop, l->conf, mail, why);
    if (rc)
        return rc;
    l->traffic = traffic_create(l->loop, l->conf);
    l->follow = follow_create(l->loop, l->events, on_event, l);
    l->tell.traffic = l->traffic;
    l->tell.login = l->own->login;
    l->banner = (struct banner){.dir = l->dir, .program = l->program, .conf = l->conf};
    return l->traffic && l->follow ? 0 : why_set(why, ERR_NOMEM, "no memory for the lab");
}

/* Below `make run` Ctrl-C would end make with an error beside us. So the terminal's signals are for
 * us alone meanwhile; a stop (Ctrl-Z) would then be noticed by nobody, so it is ignored. Returns
 * the group that had the terminal, 0 if nothing was changed. */
static pid_t
terminal_take(void)
{
    pid_t former = getpgrp();

    if (former == getpid() || tcgetpgrp(STDIN_FILENO) != former || setpgid(0, 0) < 0)
        return 0;
    signal(SIGTTOU, SIG_IGN);
    signal(SIGTSTP, SIG_IGN);
    return tcsetpgrp(STDIN_FILENO, getpgrp()) == 0 ? former : 0;
}

static void
terminal_give(pid_t former)
{
    if (former)
        (void)tcsetpgrp(STDIN_FILENO, former);
}

static int
run(struct lab *l, struct why *why)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
    pid_t former;
    int rc;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGTTIN, SIG_IGN);
    for (size_t i = 0; i < ARRAY_LEN(stops); i++)
        loop_signal(l->loop, stops[i], on_stop, l);
    loop_signal(l->loop, SIGCHLD, on_child, l);
    loop_timer_init(&l->poll, l->loop, on_poll, l);
    loop_timer_init(&l->sum, l->loop, on_sum, l);
    if (isatty(STDIN_FILENO))
        l->keys = loop_io_add(l->loop, STDIN_FILENO, LOOP_READ, on_keys, l);
    l->banner.typing = l->keys != NULL;
    l->started = clock_mono();
    printf("the gateway starts, with %s\n", l->settings);
    fflush(stdout);
    rc = gateway_start(l, why);
    if (!rc)
        rc = warden_begin(l, why);
    if (rc)
        return rc;
    former = terminal_take();
    loop_timer_set(&l->poll, READY_LOOK);
    loop_run(l->loop);
    terminal_give(former);
    follow_look(l->follow);
    if (!l->failed)
        printf("the lab has ended\n");
    return l->failed ? ERR_CLOSED : 0;
}

int
lab_main(int argc, char **argv, const struct lab_links *links)
{
    static struct lab l = {.warden.fd = -1};
    struct why why = {{0}};
    struct args a;
    int rc;

    if (!words_take(argc, argv, &a, &rc))
        return rc;
    rc = read_words(&l, &a);
    args_done(&a);
    if (rc)
        return rc - 1;
    l.links = links;
    buf_init(&l.out, 1u << 20);
    l.loop = loop_create();
    rc = l.loop ? prepare(&l, links, &why) : why_set(&why, ERR_NOMEM, "no memory for the lab");
    if (!rc)
        rc = run(&l, &why);
    if (why.text[0])
        fprintf(stderr, "gapura: %s\n", why.text);
    warden_end(&l.warden, l.ready && !l.child);
    loop_io_free(l.keys);
    follow_free(l.follow);
    traffic_free(l.traffic);
    providers_free(l.providers);
    loop_free(l.loop);
    conf_free(l.conf);
    buf_done(&l.out);
    return rc ? 1 : 0;
}
