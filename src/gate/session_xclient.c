/*
 * gate/session_xclient.c - XCLIENT: the session becomes that of the client which a proxy names.
 *
 * Called by the engine, for hosts of listen.xclient only. Limits, trust and the checks of the
 * connection are those of the client from then on. Never keeps half of what was said: either all
 * values are fine or none counts.
 */
#include <stdlib.h>

#include "gate/inner.h"
#include "gate/session.h"
#include "smtp/line.h"
#include "store/users.h"

struct xclient_values {
    struct endpoint peer, own;
    struct str login; /* folded */
    char room[LOGIN_MAX + 1];
};

static bool
read_addr(struct str text, struct addr *ret)
{
    if (str_istarts(text, STR("IPV6:")))
        text = str_from(text, 5);
    return addr_parse(text, ret) == 0;
}

static bool
read_port(struct str text, uint16_t *ret)
{
    uint64_t n;

    if (str_u64(text, &n) < 0 || n > UINT16_MAX)
        return false;
    *ret = (uint16_t)n;
    return true;
}

/* Checks what was given; what was not, or is unavailable, stays as it is. */
static bool
xclient_read(const struct session *s, const struct smtp_xclient *x, struct xclient_values *ret)
{
    const struct str *v = x->value;
    struct str proto = v[SMTP_XCLIENT_PROTO];

    ret->peer = s->facts.client;
    ret->own = (struct endpoint){.addr = s->own};
    if (proto.n && !str_ieq(proto, STR("SMTP")) && !str_ieq(proto, STR("ESMTP")))
        return false;
    if (v[SMTP_XCLIENT_LOGIN].n && login_fold(v[SMTP_XCLIENT_LOGIN], ret->room, &ret->login) < 0)
        return false;
    if (v[SMTP_XCLIENT_HELO].n && !smtp_helo_ok(v[SMTP_XCLIENT_HELO]))
        return false;
    if (v[SMTP_XCLIENT_NAME].n && !smtp_helo_ok(v[SMTP_XCLIENT_NAME]))
        return false;
    return (!v[SMTP_XCLIENT_ADDR].n || read_addr(v[SMTP_XCLIENT_ADDR], &ret->peer.addr)) &&
           (!v[SMTP_XCLIENT_PORT].n || read_port(v[SMTP_XCLIENT_PORT], &ret->peer.port)) &&
           (!v[SMTP_XCLIENT_DESTADDR].n || read_addr(v[SMTP_XCLIENT_DESTADDR], &ret->own.addr)) &&
           (!v[SMTP_XCLIENT_DESTPORT].n || read_port(v[SMTP_XCLIENT_DESTPORT], &ret->own.port));
}

/* Replaces *text by a copy if the attribute was given; false: no memory. */
static bool
take_text(const struct smtp_xclient *x, enum smtp_xclient_attr attr, struct str value, char **text)
{
    char *copy;

    if (!(x->given >> attr & 1))
        return true;
    copy = value.n ? malloc(value.n + 1) : NULL;
    if (value.n && !copy)
        return false;
    if (copy) {
        memcpy(copy, value.p, value.n);
        copy[value.n] = '\0';
    }
    free(*text);
    *text = copy;
    return true;
}

bool
session_xclient(void *ctx, const struct smtp_xclient *x)
{
    struct session *s = ctx;
    struct xclient_values v = {0};

    if (!xclient_read(s, x, &v) ||
        !take_text(x, SMTP_XCLIENT_NAME, x->value[SMTP_XCLIENT_NAME], &s->said_name) ||
        !take_text(x, SMTP_XCLIENT_HELO, x->value[SMTP_XCLIENT_HELO], &s->said_helo) ||
        !take_text(x, SMTP_XCLIENT_LOGIN, v.login, &s->user))
        return false;
    s->facts.user = s->user ? str_c(s->user) : STR_NONE;
    s->own = v.own.addr;
    free(s->helo);
    s->helo = NULL;
    s->facts.helo = STR_NONE;
    s->facts.client_name = STR_NONE;
    pipeline_done(&s->pipeline);
    arena_reset(&s->arena);
    verdict_init(&s->verdict, &s->arena);
    s->moved = true;
    s->crowded = !session_place(s, &v.peer) ||
                 pipeline_init(&s->pipeline, &s->setup->plan, &s->facts, s->gate->links.loop,
                               s->gate->links.dns, session_staged, s) < 0;
    smtp_server_set_conf(s->smtp, s->trusted ? &s->listen->trusted : &s->listen->strangers);
    smtp_server_set_trusted(s->smtp, s->facts.trusted);
    return true;
}
