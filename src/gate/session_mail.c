/*
 * gate/session_mail.c - MAIL: whose message it is, whether it may come in now, and its memory.
 *
 * Called by the engine. Decides sender rights, tenant, class and admission; whether the sender is
 * welcome is for the checks.
 */
#include "core/clock.h"
#include "core/metric.h"
#include "gate/inner.h"
#include "gate/session.h"
#include "store/settings.h"
#include "store/users.h"

#define WRITER_PATIENCE (2 * NS_PER_S)
#define WRITER_LOOK     (25 * NS_PER_MS)

/* A copy whose parts are views into the copy. */
bool
session_copy_address(struct arena *arena, const struct address *a, struct address *ret)
{
    struct str text = arena_str(arena, a->text);

    if (!text.p)
        return false;
    *ret = *a;
    ret->text = text;
    if (a->local.n)
        ret->local.p = text.p + (a->local.p - a->text.p);
    if (a->domain.n)
        ret->domain.p = text.p + (a->domain.p - a->text.p);
    return true;
}

/* What the keeper published of that login; a login that only a directory knows has its own name. */
void
session_rights(const struct session *s, struct user_rights *ret)
{
    char folded[LOGIN_MAX + 1];
    struct str login, value;

    *ret = (struct user_rights){.class = SPOOL_CLASS_TRANSACTIONAL};
    if (login_fold(s->facts.user, folded, &login) < 0 || !s->gate->snapshot)
        return;
    if (snapshot_get(s->gate->snapshot, SNAPSHOT_USER, login, &value))
        (void)user_rights_decode(value, ret);
}

int
session_login_known(const struct session *s, struct str folded)
{
    const struct settings_auth *auth = conf_get(s->setup->conf, "auth");
    struct str value;

    if (auth && auth->passwords == PASSWORDS_DOVECOT) /* it tells nobody but who has a password */
        return 1;
    if (!s->gate->snapshot)
        return ERR_STATE;
    return snapshot_get(s->gate->snapshot, SNAPSHOT_USER, folded, &value);
}

static void
mail_refuse(struct session *s, int code, const char *enhanced, const char *text)
{
    metric_add(code < 500 ? METRIC_TEMPFAIL : METRIC_REFUSED_MSG, 1);
    report_refused(s, "MAIL", code, enhanced, str_c(text), STR_NONE);
    session_say(s, code, enhanced, text);
}

/* Seconds from now become a moment; one before 1970 is 1970, long over as well. */
static void
mail_deliver_by(struct tx *tx, const struct smtp_mail_params *p)
{
    uint64_t now = clock_wall(), span = (uint64_t)(p->by < 0 ? -(int64_t)p->by : p->by) * NS_PER_S;

    tx->by_mode = p->by_mode;
    tx->by_trace = p->by_trace;
    tx->deliver_by = p->by >= 0 ? now + span : now > span ? now - span : 0;
}

static bool
mail_copy(struct tx *tx, const struct smtp_mail_params *p)
{
    char key[ADDRESS_MAX + 1];
    ssize_t n = address_key(&p->from, key, sizeof(key));

    if (n < 0 || !session_copy_address(&tx->arena, &p->from, &tx->sender))
        return false;
    tx->sender_key = arena_str(&tx->arena, str_of(key, (size_t)n));
    tx->envid = p->envid.n ? arena_str(&tx->arena, p->envid) : STR_NONE;
    tx->declared = p->size;
    tx->body_8bit = p->body_8bit;
    tx->utf8 = p->utf8;
    tx->requiretls = p->requiretls;
    tx->ret = p->ret;
    tx->hold_until = p->hold_until;
    tx->binary = p->binary;
    tx->priority = p->priority;
    mail_deliver_by(tx, p);
    return tx->sender_key.p && (!p->envid.n || tx->envid.p);
}

struct str
session_key_domain(struct str key)
{
    ssize_t at = str_rchr(key, '@');

    return at < 0 ? STR_NONE : str_from(key, (size_t)at + 1);
}

/* Tenant and class of the one who sends; false if that sender is not the login's to use. */
static bool
mail_owner(struct session *s, struct tx *tx)
{
    const struct setup_domain *d;
    struct user_rights rights;

    tx->may_relay = s->trusted || s->facts.user.n;
    tx->class = tx->may_relay ? SPOOL_CLASS_TRANSACTIONAL : SPOOL_CLASS_INSIDE;
    if (!tx->may_relay)
        return true;
    if (!s->facts.user.n) {
        d = setup_domain(s->setup, session_key_domain(tx->sender_key));
        tx->tenant = d ? d->tenant : 0;
        return true;
    }
    session_rights(s, &rights);
    tx->tenant = rights.tenant;
    tx->class = rights.class;
    if (tx->class == SPOOL_CLASS_BULK && tx->priority > 0) { /* not before people's own mail */
        tx->priority = 0;
        tx->lowered = true;
    }
    return user_may_use(rights.envelope, tx->sender_key, s->facts.user);
}

/* The tenant's own pace; ns to wait, 0 if it may. */
static uint64_t
mail_tenant_wait(struct session *s, const struct tx *tx)
{
    const struct settings_tenant *t = setup_tenant(s->setup, tx->tenant);
    struct limit *l;

    if (!t || !t->rate.count || !tx->may_relay)
        return 0;
    l = limits_tenant(&s->gate->accounts, tx->tenant);
    return l ? bucket_take(&l->connections, &t->rate, clock_mono()) : 0;
}

/* A stranger's message: who sent it is to be found out. */
static void
mail_gather(struct session *s)
{
    struct tx *tx = s->tx;
    struct str domain = session_key_domain(tx->sender_key);
    struct str local = str_sub(tx->sender_key, 0, tx->sender_key.n - domain.n - (domain.n > 0));

    s->facts.auth = NULL;
    tx->returned.keys = NULL;
    s->facts.serves = setup_serves;
    s->facts.served = s->setup;
    if (!s->setup->auth || !s->setup->verifies || !s->gate->links.dns || s->facts.trusted ||
        s->facts.user.n)
        return;
    auth_evidence_open(&tx->auth, s->setup->auth, &tx->arena, &s->facts.client.addr, s->facts.helo,
                       local, domain, clock_wall_s(), clock_mono());
    s->facts.auth = &tx->auth;
}

static void
mail_go_on(struct session *s)
{
    s->facts.sender = &s->tx->sender;
    mail_gather(s);
    session_stage(s, SESSION_MAIL, &s->tx->verdict);
}

static enum admission_class
mail_class(const struct tx *tx)
{
    if (!tx->may_relay)
        return ADMISSION_STRANGER;
    return tx->class == SPOOL_CLASS_BULK ? ADMISSION_BULK_SUBMISSION : ADMISSION_TRANSACTIONAL;
}

/* The log gets its next segment, or a new one after a failure, within a moment most times: that is
 * waited for rather than told to the client. */
static bool
mail_may_wait(struct session *s)
{
    return !s->gate->load.writer_ready && clock_mono() - s->tx->begun < WRITER_PATIENCE;
}

static void
mail_admit(struct session *s)
{
    struct admission_result law = gate_admission(s->gate, mail_class(s->tx), s->tx->declared);
    char text[160];

    switch (law.verdict) {
    case ADMIT:
        mail_go_on(s);
        break;
    case ADMIT_SLOWLY:
        session_wait(s, law.slow_ns, mail_go_on);
        break;
    case ADMIT_LATER:
        if (mail_may_wait(s)) {
            session_wait(s, WRITER_LOOK, mail_admit);
            break;
        }
        str_fmt(text, sizeof(text), "No mail is taken now (%s), try again later", law.limit);
        mail_refuse(s, 452, "4.3.1", text);
        break;
    case ADMIT_NONE:
        str_fmt(text, sizeof(text), "Too busy for mail now (%s), try again later", law.limit);
        mail_refuse(s, 421, "4.3.2", text);
        break;
    }
}

/* A stranger who has us ask without end, about mail that never comes: he waits, nobody else. */
static bool
mail_too_many(struct session *s, const struct tx *tx)
{
    if (tx->may_relay)
        return false;
    if (s->quota) {
        dns_quota_forget(s->quota); /* of the message before */
        if (dns_quota_spent(s->quota)) {
            mail_refuse(s, 451, "4.7.1", SESSION_NO_LOOKUPS);
            return true;
        }
    }
    if (session_mail_wait(s)) {
        mail_refuse(s, 451, "4.7.1",
                    "Too many transactions without a message from your network, try again later");
        return true;
    }
    return false;
}

void
session_mail(void *ctx, const struct smtp_mail_params *p)
{
    struct session *s = ctx;
    struct tx *tx = s->tx = tx_take(s->gate, s);
    char text[ADDRESS_MAX + 128];

    if (!tx || !mail_copy(tx, p)) {
        mail_refuse(s, 452, "4.3.1", "Out of memory, try again later");
        return;
    }
    if (!mail_owner(s, tx)) {
        str_fmt(text, sizeof(text),
                "%.*s may not send as <%.*s>; use your own address or ask your administrator",
                STR_ARG(s->facts.user), STR_ARG(tx->sender.text));
        mail_refuse(s, 553, "5.7.1", text);
        return;
    }
    if (tx->by_mode == SPOOL_BY_RETURN && tx->hold_until * NS_PER_S >= tx->deliver_by) {
        mail_refuse(s, 501, "5.5.4", "Held until after the time by which it must be delivered");
        return;
    }
    if (mail_tenant_wait(s, tx)) {
        mail_refuse(s, 452, "4.7.1", "Your sending limit is reached, try again later");
        return;
    }
    if (mail_too_many(s, tx))
        return;
    tx->begun = clock_mono();
    mail_admit(s);
}

void
session_mail_staged(struct session *s, const struct finding *f)
{
    if (f) {
        metric_add(f->action == VERDICT_REFUSE ? METRIC_REFUSED_MSG : METRIC_TEMPFAIL, 1);
        report_refused(s, "MAIL", f->code, f->enhanced, f->text, STR_NONE);
        session_finding(s, f);
        return;
    }
    if (s->tx->lowered) /* X.3.6 of RFC 6710: the new priority comes first */
        session_say(s, 250, "2.3.6", "0 is the new priority: bulk mail has none over other mail");
    else
        session_say(s, 250, "2.1.0", "Sender ok");
}

void
session_reset(void *ctx)
{
    struct session *s = ctx;
    struct tx *tx = s->tx;

    session_mail_over(s);
    pipeline_forget(&s->pipeline);
    s->step = SESSION_IDLE;
    s->delayed = NULL;
    s->facts.sender = s->facts.rcpt = NULL;
    s->facts.auth = NULL;
    s->facts.header = STR_NONE;
    s->facts.keys = NULL;
    s->tx = NULL;
    tx_abandon(tx);
    if (s->paused && s->stream) {
        s->paused = false;
        stream_resume(s->stream);
    }
    if (s->gate->stopping)
        session_close(s, "4.3.2", "The server is going down, come again later");
}
