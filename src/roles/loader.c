/*
 * roles/loader.c - reads and checks the settings without privileges.
 *
 * The child of roles/plan.c: it has given up its user and all but the right to read files, parses,
 * checks, and answers with one message: a plan and the bundles' descriptors, or the list of errors.
 */
#include <errno.h>
#include <sys/socket.h>

#include "core/clock.h"
#include "core/wire.h"
#include "gate/settings.h"
#include "roles/bounds.h"
#include "roles/bundle.h"
#include "roles/check.h"
#include "roles/fixed.h"
#include "roles/loader.h"
#include "roles/notes.h"
#include "roles/role.h"
#include "roles/sandbox.h"
#include "roles/settings.h"
#include "store/settings.h"

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

/* An absent wing opens no port: strangers without the guard, senders without the courier. Trusted
 * listeners serve both. */
static bool
wing_lacks(int wings, int kind)
{
    bool senders = kind == LISTEN_SUBMISSION || kind == LISTEN_SUBMISSIONS;
    return (wings == WINGS_INBOUND && senders) ||
           (wings == WINGS_OUTBOUND && kind == LISTEN_INBOUND);
}

_Static_assert(PLAN_SOCKET_MAX == LISTEN_SOCKET_MAX, "a path that stood the check fits");
static void
encode_listen(struct buf *b, const struct conf_section *s, const struct endpoint *at)
{
    const struct settings_listen *l = s->data;
    put_str(b, s->label);
    buf_add(b, at, sizeof *at);
    put_str(b, l->socket);
    put_u8(b, l->users == LISTEN_ALL_USERS);
}

static void
encode_listens(struct buf *b, const struct conf *conf, int wings)
{
    uint32_t n = 0, lacking = 0;
    for (const struct conf_section *s = conf_first(conf, "listen"); s; s = conf_next(s)) {
        const struct settings_listen *l = s->data;
        if (wing_lacks(wings, l->kind))
            lacking++;
        else
            n += l->kind == LISTEN_LOCAL ? 1 : (uint32_t)l->address.n;
    }
    put_u32(b, n);
    for (const struct conf_section *s = conf_first(conf, "listen"); s; s = conf_next(s)) {
        const struct settings_listen *l = s->data;
        if (wing_lacks(wings, l->kind))
            continue;
        for (size_t i = 0; i < l->address.n; i++)
            encode_listen(b, s, (const struct endpoint *)l->address.items + i);
        if (l->kind == LISTEN_LOCAL)
            encode_listen(b, s, &(struct endpoint){0});
    }
    put_u32(b, lacking);
    for (const struct conf_section *s = conf_first(conf, "listen"); s; s = conf_next(s))
        if (wing_lacks(wings, ((const struct settings_listen *)s->data)->kind))
            put_str(b, s->label);
}

static void
plan_encode(struct buf *b, const struct conf *conf, const struct check_files *files,
            struct str notes)
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
    put_u8(b, (uint8_t)ev->language);
    put_u64(b, co->watchdog);
    buf_add(b, &co->metrics, sizeof co->metrics);
    encode_listens(b, conf, m->wings);
    put_u32(b, (uint32_t)files->n);
    for (size_t i = 0; i < files->n; i++)
        put_str(b, files->full[i]);
    fixed_encode(b, conf, roles_blocks, roles_nblocks);
    put_str(b, notes);
}

static int
send_errors(struct conf_errors *errs)
{
    CLEANUP(buf_done) struct buf b;
    buf_init(&b, PLAN_MESSAGE_MAX);
    put_u8(&b, 0);
    conf_errors_text(errs, "", &b);
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
    if (texts.n)
        conf_draft(&conf, &texts, roles_blocks, roles_nblocks, generation, &errs);
    if (conf)
        check_conf(conf, &files, &errs);
    if (errs.n)
        return send_errors(&errs);
    CLEANUP(buf_done) struct buf b = {0};
    CLEANUP(buf_done) struct buf notes = {0};
    buf_init(&b, PLAN_MESSAGE_MAX);
    buf_init(&notes, PLAN_NOTES_MAX - 1);
    notes_conf(conf, &files, clock_wall() / NS_PER_S, &errs);
    conf_errors_text(&errs, "", &notes);
    plan_encode(&b, conf, &files, buf_view(&notes));
    int fds[PLAN_BUNDLES];
    for (unsigned i = 0; i < PLAN_BUNDLES; i++) {
        fds[i] = bundle_write(&texts, files.items, files.n, audience[i], generation);
        if (fds[i] < 0)
            return 1;
    }
    return b.failed || message_send(&b, fds, PLAN_BUNDLES) ? 1 : 0;
}
