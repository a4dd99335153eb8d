/*
 * submit/sendmail.c - `sendmail` and `gapura send`: one message from standard input to the local
 * listener.
 *
 * Called by roles/main.c. Holds no queue: what the server does not take now is the caller's to
 * send again (EX_TEMPFAIL), and nothing was sent then.
 */
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <sysexits.h>
#include <unistd.h>

#include "core/clock.h"
#include "mail/address.h"
#include "submit/args.h"
#include "submit/input.h"
#include "submit/letter.h"
#include "submit/relay.h"
#include "submit/server.h"
#include "submit/submit.h"

#define MAILNAME "/etc/mailname"
#define GROUP    1000u /* recipients of one transaction where the server tells no limit */

struct sendmail {
    struct submit_args args;
    struct input in;
    struct server *server;
    char origin[256], host[256], user[64], full_name[128], sender[ADDRESS_MAX + 1];
    struct buf header;
    struct rcpts rcpts;
    bool header_sent;
    uint64_t body_at;
    char piece[32768];
    struct why why;
};

static int
complain(const struct sendmail *m, int status)
{
    fprintf(stderr, "sendmail: %s\n", m->why.text);
    return status;
}

/* ---- who and where ---- */

static void
find_user(struct sendmail *m)
{
    const struct passwd *pw = getpwuid(getuid());
    struct str rest;

    if (!pw) {
        str_fmt(m->user, sizeof(m->user), "uid%u", (unsigned)getuid());
        return;
    }
    str_fmt(m->user, sizeof(m->user), "%s", pw->pw_name);
    (void)str_copy(str_sub(str_cut(str_c(pw->pw_gecos), ',', &rest), 0, sizeof(m->full_name) - 1),
                   m->full_name, sizeof(m->full_name));
}

static void
find_host(struct sendmail *m)
{
    if (gethostname(m->host, sizeof(m->host)) < 0 || !address_domain_ok(str_c(m->host)))
        str_fmt(m->host, sizeof(m->host), "localhost");
    m->host[sizeof(m->host) - 1] = 0;
}

/* The domain of names without one: Debian's file for it, else the server's own name. */
static void
find_origin(struct sendmail *m)
{
    FILE *f = fopen(MAILNAME, "re");
    char line[300] = "";
    struct str name, rest;

    if (f) {
        if (!fgets(line, sizeof(line), f))
            line[0] = 0;
        fclose(f);
    }
    name = str_trim(str_cut(str_c(line), '\n', &rest));
    if (!address_domain_ok(name))
        name = server_name(m->server);
    if (!address_domain_ok(name))
        name = str_c(m->host);
    (void)str_copy(name, m->origin, sizeof(m->origin));
}

/* -f, or user@origin; "" and "<>" are the null sender. */
static int
find_sender(struct sendmail *m)
{
    struct str typed = str_trim(str_c(m->args.sender ? m->args.sender : m->user));
    struct rcpts one = {0};
    int rc;

    if (m->args.sender && (!typed.n || str_eq(typed, STR("<>")))) {
        m->sender[0] = 0;
        return EX_OK;
    }
    rc = rcpts_add(&one, typed, str_c(m->origin));
    if (rc == 0 && (one.n != 1 || !str_copy(str_c(one.items[0]), m->sender, sizeof(m->sender))))
        rc = ERR_SYNTAX;
    rcpts_done(&one);
    if (rc == 0)
        return EX_OK;
    why_set(&m->why, rc, "\"%.*s\" cannot be a sender: write name@domain; nothing was sent",
            STR_ARG(str_sub(typed, 0, 100)));
    return EX_USAGE;
}

static int
find_rcpts(struct sendmail *m)
{
    for (int i = 0; i < m->args.nrcpt; i++) {
        int rc = rcpts_add(&m->rcpts, str_c(m->args.rcpts[i]), str_c(m->origin));

        if (rc == 0)
            continue;
        why_set(&m->why, rc, "\"%.*s\" is no recipient (%s); nothing was sent",
                STR_ARG(str_sub(str_c(m->args.rcpts[i]), 0, 100)), err_text(rc));
        return EX_USAGE;
    }
    return EX_OK;
}

/* ---- the message ---- */

static int
make_header(struct sendmail *m)
{
    char own[ADDRESS_MAX + 1];
    struct letter_conf conf = {
        .origin = str_c(m->origin),
        .from = str_c(m->sender),
        .name = m->args.full_name ? m->args.full_name : m->full_name,
        .wall = clock_wall(),
        .gather = m->args.from_header ? &m->rcpts : NULL,
    };

    if (!conf.from.n) {
        str_fmt(own, sizeof(own), "%s@%s", m->user, m->origin);
        conf.from = str_c(own);
    }
    buf_init(&m->header, INPUT_HEADER_MAX + (16u << 10));
    if (letter_header(&m->header, buf_view(&m->in.header), &conf, &m->why) < 0)
        return EX_DATAERR;
    if (m->rcpts.n)
        return EX_OK;
    why_set(&m->why, ERR_SYNTAX, "%s",
            m->args.from_header
                ? "there are no recipients in To, Cc or Bcc, and none were given; nothing was sent"
                : "no recipient was given: name one, or use -t to take those of the header");
    return EX_USAGE;
}

static int
pull(void *ctx, struct str *ret)
{
    struct sendmail *m = ctx;
    ssize_t n;

    *ret = STR_NONE;
    if (!m->header_sent) {
        m->header_sent = true;
        *ret = buf_view(&m->header);
        return 0;
    }
    do
        n = pread(m->in.body, m->piece, sizeof(m->piece), (off_t)m->body_at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    m->body_at += (uint64_t)n;
    *ret = str_of(m->piece, (size_t)n);
    return 0;
}

/* Recipients from `at` on, as many as the server takes at once. */
static int
send_group(struct sendmail *m, size_t at, size_t n)
{
    struct smtp_client_rcpt *rcpts = calloc(n, sizeof(*rcpts));
    struct smtp_client_message message = {
        .sender = str_c(m->sender),
        .rcpts = rcpts,
        .nrcpt = (unsigned)n,
        .size = m->header.n + m->in.size,
        .body_8bit = true,
        .utf8 = !str_is_ascii(str_c(m->sender)),
        .ret = m->args.ret,
        .envid = str_c(m->args.envid),
        .pull = pull,
        .pull_ctx = m,
    };
    int status;

    if (!rcpts) {
        why_set(&m->why, ERR_NOMEM, "out of memory; nothing was sent");
        return EX_TEMPFAIL;
    }
    for (size_t i = 0; i < n; i++) {
        rcpts[i] = (struct smtp_client_rcpt){.address = str_c(m->rcpts.items[at + i]),
                                             .notify = m->args.notify};
        message.utf8 |= !str_is_ascii(rcpts[i].address);
    }
    m->header_sent = false;
    m->body_at = 0;
    status = server_send(m->server, &message, &m->why);
    free(rcpts);
    return status;
}

static int
send_all(struct sendmail *m)
{
    size_t most = server_max_rcpts(m->server), sent = 0;
    int status = EX_OK;

    most = most ? most : GROUP;
    while (sent < m->rcpts.n && status == EX_OK) {
        size_t n = MIN(most, m->rcpts.n - sent);

        status = send_group(m, sent, n);
        sent += status == EX_OK ? n : 0;
    }
    if (status != EX_OK && sent)
        fprintf(stderr, "sendmail: the first %zu of %zu recipients were sent to, the others not\n",
                sent, m->rcpts.n);
    return status;
}

static int
deliver(struct sendmail *m)
{
    int status, rc;

    if (!m->args.nrcpt && !m->args.from_header) {
        fprintf(stderr, "sendmail: no recipient was given: name one, or use -t to take those of "
                        "the header\n");
        return EX_USAGE;
    }
    find_user(m);
    find_host(m);
    rc = input_read(&m->in, STDIN_FILENO, m->args.dots, &m->why);
    if (rc < 0)
        return complain(m, rc == ERR_LIMIT ? EX_DATAERR : EX_TEMPFAIL);
    rc = server_open(&m->server, m->host, m->args.verbose, &m->why);
    if (rc < 0)
        return complain(m, rc == -EACCES ? EX_NOPERM : EX_TEMPFAIL);
    find_origin(m);
    status = find_sender(m);
    if (status == EX_OK)
        status = find_rcpts(m);
    if (status == EX_OK)
        status = make_header(m);
    if (status == EX_OK)
        status = send_all(m);
    return status == EX_OK ? EX_OK : complain(m, status);
}

int
submit_sendmail(int argc, char **argv)
{
    static struct sendmail m;
    int status = submit_args(argc, argv, &m.args);

    if (status != EX_OK)
        return status;
    signal(SIGPIPE, SIG_IGN);
    m.in.body = -1;
    switch (m.args.mode) {
    case SUBMIT_SMTP:
        return relay_run(STDIN_FILENO, STDOUT_FILENO);
    case SUBMIT_MAILQ:
        return submit_mailq(1, argv);
    case SUBMIT_NEWALIASES:
        return EX_OK; /* tables are read again by themselves when they change */
    case SUBMIT_QUEUE_RUN:
        fprintf(stderr, "sendmail: the queue runs by itself; `gapura queue retry --all` tries now "
                        "what waits for a later attempt\n");
        return EX_OK;
    case SUBMIT_DELIVER:
        break;
    }
    status = deliver(&m);
    server_close(m.server);
    input_done(&m.in);
    buf_done(&m.header);
    rcpts_done(&m.rcpts);
    return status;
}

static int
submit_newaliases(int argc UNUSED, char **argv UNUSED)
{
    return EX_OK;
}

int (*submit_main_of(const char *argv0))(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*main)(int argc, char **argv);
    } names[] = {
        {"sendmail", submit_sendmail}, {"mailq", submit_mailq}, {"newaliases", submit_newaliases}};
    const char *slash = argv0 ? strrchr(argv0, '/') : NULL;

    for (size_t i = 0; argv0 && i < ARRAY_LEN(names); i++)
        if (!strcmp(slash ? slash + 1 : argv0, names[i].name))
            return names[i].main;
    return NULL;
}
