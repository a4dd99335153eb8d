/*
 * roles/plan.c - the loader child and the supervisor's conversation with it; `gapura check`.
 *
 * The child gives up its user and all but the right to read files, parses, checks, and answers with
 * one message: a plan and the bundles' descriptors, or the list of errors.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/wire.h"
#include "gate/settings.h"
#include "roles/bundle.h"
#include "roles/check.h"
#include "roles/plan.h"
#include "roles/role.h"
#include "roles/sandbox.h"
#include "roles/settings.h"
#include "store/settings.h"

#define PLAN_MESSAGE_MAX (128u << 10)
#define LOADER_WAIT_MS   30000

static void
errors_text(const struct conf_errors *errs, struct buf *out)
{
    for (size_t i = 0; i < errs->n; i++)
        buf_fmt(out, "%.*s:%u: %.*s\n", STR_ARG(errs->items[i].file), errs->items[i].line,
                STR_ARG(errs->items[i].text));
}

static int
message_send(const struct buf *b, const int *fds, unsigned nfds)
{
    struct iovec iov = {b->p, b->n};
    union {
        char raw[CMSG_SPACE(sizeof(int) * PLAN_BUNDLES)];
        struct cmsghdr align;
    } control = {{0}};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (nfds) {
        msg.msg_control = control.raw;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
    }
    return sendmsg(ROLE_SUPERVISOR_FD, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void
plan_encode(struct buf *b, const struct conf *conf, const struct conf_texts *texts,
            const struct check_files *files)
{
    const struct settings_main *m = conf_get(conf, "");
    const struct settings_spool *sp = conf_get(conf, "spool");
    const struct settings_events *ev = conf_get(conf, "events");
    const struct settings_control *co = conf_get(conf, "control");
    put_u8(b, 1);
    put_str(b, m->hostname);
    put_str(b, m->user);
    put_u8(b, (uint8_t)m->wings);
    put_str(b, sp->dir);
    put_str(b, co->dir);
    put_str(b, co->store);
    put_u8(b, (uint8_t)ev->to);
    put_str(b, ev->file);
    put_u64(b, ev->rotate_size);
    put_u64(b, ev->keep);
    buf_add(b, &co->metrics, sizeof co->metrics);
    uint32_t n = 0;
    for (const struct conf_section *s = conf_first(conf, "listen"); s; s = conf_next(s))
        n += (uint32_t)((const struct settings_listen *)s->data)->address.n;
    put_u32(b, n);
    for (const struct conf_section *s = conf_first(conf, "listen"); s; s = conf_next(s)) {
        const struct settings_listen *l = s->data;
        for (size_t i = 0; i < l->address.n; i++) {
            put_str(b, s->label);
            buf_add(b, (const struct endpoint *)l->address.items + i, sizeof(struct endpoint));
        }
    }
    put_u32(b, (uint32_t)(texts->n + files->n));
    for (size_t i = 0; i < texts->n; i++)
        put_str(b, texts->items[i].path);
    for (size_t i = 0; i < files->n; i++)
        put_str(b, files->items[i].path);
}

static int
send_errors(const struct conf_errors *errs)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, PLAN_MESSAGE_MAX);
    put_u8(&b, 0);
    errors_text(errs, &b);
    b.failed = false; /* what fits is enough to begin mending */
    return message_send(&b, NULL, 0) ? 1 : 0;
}

int
loader_main(const char *file, uint64_t generation)
{
    static const uint8_t audience[PLAN_BUNDLES] = {
        [PLAN_GATE] = BUNDLE_FOR_GATE,
        [PLAN_COURIER] = BUNDLE_FOR_COURIER,
        [PLAN_RESOLVER] = BUNDLE_FOR_RESOLVER,
        [PLAN_KEEPER] = BUNDLE_FOR_KEEPER,
        [PLAN_BARE] = 0,
    };
    struct why why = {{0}};
    struct conf_errors errs = {0};
    struct sandbox_path root = {"/", SANDBOX_READ};
    if (sandbox_enter("loader", &root, 1, &why))
        conf_fail(&errs, str_c(file), 0, "%s", why.text);
    static struct conf_texts texts;
    static struct check_files files;
    struct conf *conf = NULL;
    conf_load(&texts, file, &errs);
    if (!errs.n)
        conf_parse(&conf, &texts, roles_blocks, roles_nblocks, generation, &errs);
    if (conf)
        check_conf(conf, &files, &errs);
    if (errs.n)
        return send_errors(&errs);
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, PLAN_MESSAGE_MAX);
    plan_encode(&b, conf, &texts, &files);
    int fds[PLAN_BUNDLES];
    for (unsigned i = 0; i < PLAN_BUNDLES; i++) {
        fds[i] = bundle_write(&texts, files.items, files.n, audience[i], generation);
        if (fds[i] < 0)
            return 1;
    }
    return b.failed || message_send(&b, fds, PLAN_BUNDLES) ? 1 : 0;
}

static bool
wire_text(struct wire *w, char *dst, size_t cap)
{
    return str_copy(wire_str(w), dst, cap);
}

static int
plan_decode(struct plan *p, struct wire *w)
{
    bool ok =
        wire_text(w, p->hostname, sizeof p->hostname) && wire_text(w, p->user, sizeof p->user);
    p->wings = wire_u8(w);
    ok = ok && wire_text(w, p->spool_dir, sizeof p->spool_dir) &&
         wire_text(w, p->control_dir, sizeof p->control_dir) &&
         wire_text(w, p->store, sizeof p->store);
    p->events_to = wire_u8(w);
    ok = ok && wire_text(w, p->events_file, sizeof p->events_file);
    p->rotate_size = wire_u64(w);
    p->keep = wire_u64(w);
    struct str raw = wire_bytes(w, sizeof p->metrics);
    if (raw.n)
        memcpy(&p->metrics, raw.p, raw.n);
    uint32_t n = wire_u32(w);
    for (uint32_t i = 0; i < n && ok && !w->failed && i < PLAN_LISTENS; i++) {
        struct plan_listen *l = &p->listens[p->nlistens++];
        ok = wire_text(w, l->name, sizeof l->name);
        raw = wire_bytes(w, sizeof l->at);
        if (raw.n)
            memcpy(&l->at, raw.p, raw.n);
    }
    n = wire_u32(w);
    for (uint32_t i = 0; i < n && ok && !w->failed && i < PLAN_FILES; i++)
        ok = wire_text(w, p->files[p->nfiles++], sizeof p->files[0]);
    return ok && !w->failed ? 0 : ERR_LIMIT;
}

static int
message_receive(int fd, char *dst, size_t cap, size_t *ret_n, int fds[PLAN_BUNDLES], unsigned *nfds)
{
    struct pollfd pf = {.fd = fd, .events = POLLIN};
    *nfds = 0;
    if (poll(&pf, 1, LOADER_WAIT_MS) <= 0)
        return ERR_TIMEOUT;
    struct iovec iov = {dst, cap};
    union {
        char raw[CMSG_SPACE(sizeof(int) * PLAN_BUNDLES)];
        struct cmsghdr align;
    } control;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.raw,
                         .msg_controllen = sizeof control.raw};
    ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    if (!n || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return ERR_CLOSED;
    *ret_n = (size_t)n;
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_type == SCM_RIGHTS) {
        *nfds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), sizeof(int) * *nfds);
    }
    return 0;
}

static pid_t
loader_start(const char *file, uint64_t generation, unsigned uid, unsigned gid, int fd)
{
    char number[24];
    str_fmt(number, sizeof number, "%llu", (unsigned long long)generation);
    pid_t pid = fork();
    if (pid)
        return pid;
    if (fd == ROLE_SUPERVISOR_FD)
        fcntl(fd, F_SETFD, 0);
    else
        dup2(fd, ROLE_SUPERVISOR_FD);
    if (sandbox_reader(uid, gid, NULL))
        _exit(1);
    /* Capabilities do not outlive exec for a user that is not root: the loader runs as it is. */
    close_range(ROLE_SUPERVISOR_FD + 1, ~0u, 0);
    _exit(loader_main(file, generation));
}

int
plan_load(struct plan *ret, const char *file, uint64_t generation, unsigned uid, unsigned gid,
          char **ret_errors)
{
    int pair[2];
    *ret_errors = NULL;
    memset(ret, 0, sizeof *ret);
    for (unsigned i = 0; i < PLAN_BUNDLES; i++)
        ret->bundles[i] = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return -errno;
    int room = 512 << 10;
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    CLEANUP(fd_close) int fd = pair[0];
    pid_t pid = loader_start(file, generation, uid, gid, pair[1]);
    close(pair[1]);
    if (pid < 0)
        return -errno;
    CLEANUP(free_ptr) char *text = malloc(PLAN_MESSAGE_MAX);
    ENSURE(text);
    size_t n = 0;
    int fds[PLAN_BUNDLES];
    unsigned nfds = 0;
    int rc = message_receive(fd, text, PLAN_MESSAGE_MAX, &n, fds, &nfds);
    if (rc == ERR_TIMEOUT)
        kill(pid, 9);
    waitpid(pid, NULL, 0);
    if (rc)
        return rc;
    if (!text[0]) {
        *ret_errors = strndup(text + 1, n - 1);
        return ERR_SYNTAX;
    }
    for (unsigned i = 0; i < nfds && i < PLAN_BUNDLES; i++)
        ret->bundles[i] = fds[i];
    struct wire w;
    wire_init(&w, text + 1, n - 1);
    ret->generation = generation;
    rc = nfds == PLAN_BUNDLES ? plan_decode(ret, &w) : ERR_CLOSED;
    if (rc)
        plan_done(ret);
    return rc;
}

void
plan_done(struct plan *p)
{
    for (unsigned i = 0; i < PLAN_BUNDLES; i++)
        fd_close(&p->bundles[i]);
}

int
check_main(const char *file)
{
    static struct conf_texts texts;
    static struct check_files files;
    struct conf_errors errs = {0};
    struct conf *conf = NULL;
    conf_load(&texts, file, &errs);
    if (!errs.n)
        conf_parse(&conf, &texts, roles_blocks, roles_nblocks, 1, &errs);
    if (conf)
        check_conf(conf, &files, &errs);
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, 1u << 20);
    errors_text(&errs, &b);
    fwrite(b.p ? b.p : "", 1, b.n, stderr);
    if (errs.n)
        fprintf(stderr, "%s: %zu error%s; nothing was changed\n", file, errs.n,
                errs.n == 1 ? "" : "s");
    else
        printf("%s: fine (%zu file%s)\n", file, texts.n, texts.n == 1 ? "" : "s");
    return errs.n ? 1 : 0;
}
