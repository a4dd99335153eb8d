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

/* What the session owns of the values; nothing of it counts before all of it is there. */
struct xclient_texts {
    char *name, *helo, *login;
};

/* A copy, or NULL if it is empty; false: no memory. */
static bool
copy_text(struct str value, char **ret)
{
    *ret = NULL;
    if (!value.n)
        return true;
    *ret = malloc(value.n + 1);
    if (!*ret)
        return false;
    memcpy(*ret, value.p, value.n);
    (*ret)[value.n] = '\0';
    return true;
}

static bool
copy_texts(const struct smtp_xclient *x, struct str login, struct xclient_texts *ret)
{
    *ret = (struct xclient_texts){0};
    if (copy_text(x->value[SMTP_XCLIENT_NAME], &ret->name) &&
        copy_text(x->value[SMTP_XCLIENT_HELO], &ret->helo) && copy_text(login, &ret->login))
        return true;
    free(ret->name);
    free(ret->helo);
    free(ret->login);
    return false;
}

/* Takes the text over if the attribute was given. */
static void
take_text(const struct smtp_xclient *x, enum smtp_xclient_attr attr, char *text, char **place)
{
    if (!(x->given >> attr & 1))
        return;
    free(*place);
    *place = text;
}

bool
session_xclient(void *ctx, const struct smtp_xclient *x)
{
    struct session *s = ctx;
    struct xclient_values v = {0};
    struct xclient_texts texts;

    if (!xclient_read(s, x, &v) || (v.login.n && session_login_known(s, v.login) != 1) ||
        !copy_texts(x, v.login, &texts))
        return false;
    take_text(x, SMTP_XCLIENT_NAME, texts.name, &s->said_name);
    take_text(x, SMTP_XCLIENT_HELO, texts.helo, &s->said_helo);
    session_forget_user(s);
    s->user = texts.login;
    s->facts.user = s->user ? str_c(s->user) : STR_NONE;
    if (!s->moved || x->given >> SMTP_XCLIENT_ADDR & 1)
        s->unnamed = !x->value[SMTP_XCLIENT_ADDR].n;
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
    s->pipeline.quota = s->quota;
    smtp_server_set_conf(s->smtp, s->trusted ? &s->listen->trusted : &s->listen->strangers);
    smtp_server_set_trusted(s->smtp, s->facts.trusted);
    if (s->facts.tls)
        session_auth_offer(s);
    return true;
}
