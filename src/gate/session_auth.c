/*
 * gate/session_auth.c - AUTH: bytes between the client and the keyring, limits of failures, time.
 *
 * Called by the engine. Never sees a verifier and keeps no password (EXTERNAL needs none); a failed
 * login is answered a fixed time after it began, so that neither the reason nor the account shows.
 */
#include <stdlib.h>

#include "core/clock.h"
#include "core/event.h"
#include "core/metric.h"
#include "gate/inner.h"
#include "gate/session.h"
#include "net/tls.h"
#include "store/users.h"

#define ASK_TIMEOUT   (30 * NS_PER_S)
#define AUTH_BODY_MAX 32768u

static void
auth_result(struct session *s, enum smtp_auth_result result, struct str data)
{
    if (result != SMTP_AUTH_CHALLENGE)
        s->auth_running = false;
    smtp_server_auth(s->smtp, result, data);
    session_resume(s);
}

static void
auth_later(struct session *s, const char *text)
{
    s->auth_running = false;
    session_say(s, 454, "4.7.0", text);
}

/* Where the client comes from, and how often logins from there may fail. */
struct auth_place {
    struct limit *limit; /* NULL: not counted */
    const struct rate *rate;
};
#define AUTH_PLACES 3u

static void
auth_places(const struct session *s, struct auth_place ret[AUTH_PLACES])
{
    const struct settings_smtp *c = s->setup->smtp;

    ret[0] = (struct auth_place){s->by_address, &c->auth_failures_address};
    ret[1] = (struct auth_place){s->by_network, &c->auth_failures_network};
    ret[2] = (struct auth_place){s->by_wide, &c->auth_failures_wide_network};
}

/* ns that this address and its networks must still wait; 0: they may try. */
static uint64_t
auth_wait(const struct session *s)
{
    struct auth_place places[AUTH_PLACES];
    uint64_t now = clock_mono(), wait = 0;

    auth_places(s, places);
    for (size_t i = 0; i < AUTH_PLACES; i++) {
        if (places[i].limit)
            wait = MAX(wait, bucket_peek(&places[i].limit->auth_failures, places[i].rate, now));
    }
    return wait;
}

/* Where failures to that account count: apart in a network from which its owner has logged in, so
 * that nobody else's guesses keep him out. NULL: nowhere. */
static struct limit *
auth_account(const struct session *s, struct str user)
{
    struct limits *all = &s->gate->accounts;
    struct limit *known;

    if (!user.n || s->facts.trusted)
        return NULL;
    known = limits_known(all, user, &s->facts.client.addr, false);
    return known ? known : limits_user(all, user);
}

static uint64_t
auth_user_wait(const struct session *s, struct str user)
{
    struct limit *l = auth_account(s, user);

    return l ? bucket_peek(&l->auth_failures, &s->setup->smtp->auth_failures_user, clock_mono())
             : 0;
}

static void
auth_count_failure(struct session *s, struct str user)
{
    const struct settings_smtp *c = s->setup->smtp;
    uint64_t now = clock_mono();
    struct limit *l = auth_account(s, user);
    struct auth_place places[AUTH_PLACES];

    auth_places(s, places);
    for (size_t i = 0; i < AUTH_PLACES; i++) {
        if (places[i].limit)
            (void)bucket_take(&places[i].limit->auth_failures, places[i].rate, now);
    }
    if (l)
        (void)bucket_take(&l->auth_failures, &c->auth_failures_user, now);
    metric_add(METRIC_AUTH_FAIL, 1);
}

static void
auth_say_failed(struct session *s)
{
    auth_result(s, SMTP_AUTH_FAIL, STR_NONE);
}

static void
auth_say_later(struct session *s)
{
    auth_later(s, "Too many failed logins to this account, try again later");
}

static void
auth_say_network(struct session *s)
{
    auth_later(s, "Too many failed logins from your network, try again later");
}

/* What is said instead of the answer to somebody who is locked out; NULL: he is not. Asked when the
 * answer is there: guesses that were made side by side have been counted since he began. */
typedef void auth_say(struct session *s);
static auth_say *
auth_locked(const struct session *s, struct str user)
{
    if (auth_wait(s))
        return auth_say_network;
    return user.n && auth_user_wait(s, user) ? auth_say_later : NULL;
}

/* No sooner than the fixed time after the exchange began. */
static void
auth_delayed(struct session *s, void (*say)(struct session *))
{
    uint64_t due = s->auth_started + s->setup->smtp->auth_failure_delay, now = clock_mono();

    session_wait(s, due > now ? due - now : 0, say);
}

void
session_forget_user(struct session *s)
{
    free(s->user);
    s->user = NULL;
    s->facts.user = STR_NONE;
}

static void
auth_succeeded(struct session *s, struct str user, struct str data)
{
    char *copy = malloc(user.n + 1);

    if (!copy || !user.n) {
        free(copy);
        auth_later(s, "Authentication is not possible now");
        return;
    }
    memcpy(copy, user.p, user.n);
    copy[user.n] = '\0';
    free(s->user);
    s->user = copy;
    s->facts.user = str_of(copy, user.n);
    if (!s->facts.trusted)
        (void)limits_known(&s->gate->accounts, user, &s->facts.client.addr, true);
    metric_add(METRIC_AUTH_OK, 1);
    report_auth(s, user, true, "");
    auth_result(s, SMTP_AUTH_OK, data);
}

static void
auth_failed(struct session *s, struct str user)
{
    auth_say *locked = auth_locked(s, user);

    auth_count_failure(s, user);
    report_auth(s, user, false, locked ? "too many failures" : "wrong name or password");
    /* Who is locked out gets one answer whatever the password was. */
    auth_delayed(s, locked ? locked : auth_say_failed);
}

/* Proved, and yet nobody's: no guess, so that it counts against no account. */
static void
auth_refused(struct session *s, struct str user, const char *why)
{
    auth_count_failure(s, STR_NONE);
    report_auth(s, user, false, why);
    auth_delayed(s, auth_say_failed);
}

/* u8 enum smtp_auth_result, str data, str user */
static void
auth_answered(void *ctx, int status, struct wire *body, int fd)
{
    struct session *s = ctx;
    struct str data, user;
    auth_say *locked;
    uint8_t result;

    fd_close(&fd);
    s->auth_ask = 0;
    result = status == 0 ? wire_u8(body) : (uint8_t)SMTP_AUTH_TEMP;
    data = status == 0 ? wire_str(body) : STR_NONE;
    user = status == 0 ? wire_str(body) : STR_NONE;
    if (status == 0 && !wire_end(body))
        result = SMTP_AUTH_TEMP;
    switch (result) {
    case SMTP_AUTH_CHALLENGE:
        auth_result(s, SMTP_AUTH_CHALLENGE, data);
        break;
    case SMTP_AUTH_OK:
        locked = auth_locked(s, user);
        if (locked) {
            report_auth(s, user, false, "too many failures");
            auth_delayed(s, locked);
        } else {
            auth_succeeded(s, user, data);
        }
        break;
    case SMTP_AUTH_FAIL:
        auth_failed(s, user);
        break;
    default:
        auth_later(s, "Authentication is not possible now, try again later");
        break;
    }
}

static void
exchange_ask(struct session *s, uint16_t type, struct buf *body)
{
    struct gate *gate = s->gate;
    int rc = ERR_CLOSED;

    if (!body->failed && gate->links.keyring && chan_open(gate->links.keyring)) {
        s->auth_ask = chan_ask_add(gate->keyring_asks, ASK_TIMEOUT, auth_answered, s);
        rc = s->auth_ask ? chan_send(gate->links.keyring, type, s->auth_ask, body, -1) : ERR_LIMIT;
    }
    if (body->p)
        explicit_bzero(body->p, body->n); /* it may hold a password */
    buf_done(body);
    if (rc == 0)
        return;
    if (s->auth_ask)
        chan_ask_cancel(gate->keyring_asks, s->auth_ask);
    s->auth_ask = 0;
    auth_later(s, "Authentication is not possible now, try again later");
}

/* The login that the client's certificate stands for; empty: none. */
static struct str
auth_certificate(const struct session *s)
{
    struct tls_info tls;

    if (s->moved || !session_tls(s, &tls)) /* a proxy's certificate is not its client's */
        return STR_NONE;
    return setup_certificate_login(s->listen, &tls);
}

void
session_auth_offer(struct session *s)
{
    const struct setup *su = s->setup;

    smtp_server_set_mechs(s->smtp, str_c(auth_certificate(s).n ? su->mechs_cert : su->mechs_tls));
}

/* EXTERNAL (RFC 4422 A): who the client is was proved by its certificate; it may say it again. That
 * the login is still one is for the keeper to say: a certificate outlives people. */
static void
auth_external(struct session *s, struct str authzid)
{
    struct str login = auth_certificate(s), folded;
    char room[LOGIN_MAX + 1];
    int known;

    s->auth_external = false;
    if (login_fold(login, room, &folded) < 0 || (authzid.n && !str_ieq(authzid, login))) {
        auth_failed(s, STR_NONE);
        return;
    }
    known = session_login_known(s, folded);
    if (known == 1)
        auth_succeeded(s, folded, STR_NONE);
    else if (known < 0)
        auth_later(s, "Authentication is not possible now, try again later");
    else
        auth_refused(s, folded, "the login of this certificate does not exist");
}

/* What the keyring needs to know of the connection for SCRAM-SHA-256-PLUS. */
static void
put_binding(struct buf *body, const struct session *s)
{
    struct tls_binding b;
    bool tls = s->facts.tls && stream_tls_binding(s->stream, &b);

    put_u8(body, tls && str_find(str_c(s->setup->mechs_tls), STR("-PLUS")) >= 0);
    put_str(body, tls ? str_of((const char *)b.exporter, b.exporter_n) : STR_NONE);
    put_str(body, tls ? str_of((const char *)b.endpoint, b.endpoint_n) : STR_NONE);
}

void
session_auth(void *ctx, struct str mech, struct str initial)
{
    struct session *s = ctx;
    uint64_t wait = auth_wait(s);
    char shown[32];
    struct buf body;

    s->auth_started = clock_mono();
    s->auth_external = false;
    if (wait) {
        report_auth(s, STR_NONE, false, "too many failures");
        session_reply(s, 454, "4.7.0", "Too many failed logins from your network, wait %s",
                      str_show_duration(round_up(wait, NS_PER_S), shown));
        return;
    }
    if (str_ieq(mech, STR("EXTERNAL"))) {
        s->auth_external = !initial.p;
        if (initial.p)
            auth_external(s, initial);
        else
            auth_result(s, SMTP_AUTH_CHALLENGE, STR_NONE);
        return;
    }
    s->auth_number = ++s->gate->auth_count;
    s->auth_running = true;
    buf_init(&body, AUTH_BODY_MAX);
    put_u64(&body, s->auth_number);
    put_str(&body, mech);
    put_u8(&body, initial.p != NULL);
    put_str(&body, initial);
    put_binding(&body, s);
    exchange_ask(s, ASK_AUTH_START, &body);
}

void
session_auth_step(void *ctx, struct str response)
{
    struct session *s = ctx;
    struct buf body;

    if (s->auth_external) {
        auth_external(s, response);
        return;
    }
    buf_init(&body, AUTH_BODY_MAX);
    put_u64(&body, s->auth_number);
    put_str(&body, response);
    exchange_ask(s, ASK_AUTH_STEP, &body);
}

/* A client that did not wait for our answer: what it had us compute counts, or whoever always
 * leaves would never meet a limit. */
static void
auth_left(struct session *s)
{
    auth_count_failure(s, STR_NONE);
    report_auth(s, STR_NONE, false, "the client left before the answer");
}

void
session_auth_cancel(void *ctx)
{
    session_auth_stop(ctx);
    session_forget_user(ctx); /* the server had agreed, the client did not */
}

void
session_auth_stop(struct session *s)
{
    struct gate *gate = s->gate;
    struct buf body;

    if (s->auth_ask) {
        chan_ask_cancel(gate->keyring_asks, s->auth_ask);
        s->auth_ask = 0;
        if (!gate->stopping)
            auth_left(s);
    }
    if (!s->auth_running)
        return;
    s->auth_running = false;
    s->delayed = NULL;
    buf_init(&body, 64);
    put_u64(&body, s->auth_number);
    if (gate->links.keyring && chan_open(gate->links.keyring))
        (void)chan_send(gate->links.keyring, ASK_AUTH_CANCEL, 0, &body, -1);
    buf_done(&body);
}
