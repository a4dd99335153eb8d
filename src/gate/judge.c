/*
 * gate/judge.c - who judges each recipient, the verdicts at the end of a message, their record.
 *
 * Called by the session's RCPT and DATA, by accept.c and report.c. Decides nothing itself: weights
 * and thresholds are the profiles', the law is policy/judgement.c's.
 */
#include "gate/inner.h"
#include "gate/session.h"

#define FIRST       4u
#define FIELDS_MOST 4u
#define NAMED_MOST  3u /* findings that a refusal names */

/* ---- while recipients come ---- */

/* Room for one more in a list that doubles; false: no memory. */
static bool
list_room(struct arena *arena, void **items, uint32_t n, uint32_t *cap, size_t size)
{
    uint32_t more = *cap ? 2 * *cap : FIRST;
    void *grown;

    if (n < *cap)
        return true;
    grown = arena_array(arena, size, more);
    if (!grown)
        return false;
    if (n)
        memcpy(grown, *items, n * size);
    *items = grown;
    *cap = more;
    return true;
}

int
judge_aim(struct tx *tx, const struct tx_variant *v, uint32_t index)
{
    struct judging *j = &tx->judging;
    void *aims = j->aims;

    if (!list_room(&tx->arena, &aims, j->naims, &j->cap_aims, sizeof(*j->aims)))
        return ERR_LIMIT;
    j->aims = aims;
    j->aims[j->naims++] = (struct judge_aim){
        .given = j->ngiven, .index = index, .variant = (uint8_t)(v - tx->variants)};
    return 0;
}

/* Of the domain that the client named: its own, its tenant's, or the one for all. */
static const struct profile *
judge_profile(const struct session *s, const struct tx *tx)
{
    const struct setup *su = s->setup;
    const struct setup_domain *d;
    const struct settings_tenant *t;
    const struct profile *p = NULL;
    char key[ADDRESS_MAX + 1];
    ssize_t n;

    if (tx->may_relay)
        return NULL;
    n = address_key(&tx->rcpt.to, key, sizeof(key));
    d = n > 0 ? setup_domain(su, session_key_domain(str_of(key, (size_t)n))) : NULL;
    if (d)
        return d->profile;
    t = tx->query.result.owner ? setup_tenant(su, tx->query.result.owner) : NULL;
    if (t && t->profile.n)
        p = profile_find(&su->profiles, t->profile);
    return p ? p : su->profile;
}

int
judge_given(struct tx *tx)
{
    struct judging *j = &tx->judging;
    void *given = j->given;

    if (!list_room(&tx->arena, &given, j->ngiven, &j->cap_given, sizeof(*j->given)))
        return ERR_LIMIT;
    j->given = given;
    j->given[j->ngiven++] = (struct judge_given){.profile = judge_profile(tx->session, tx)};
    return 0;
}

/* ---- at the end ---- */

static bool
judge_found(const struct verdict *v)
{
    return v->first || v->missed;
}

static void
mark_own(struct tx *tx)
{
    struct judging *j = &tx->judging;

    for (const struct finding *f = tx->verdict.first; f; f = f->next) {
        if (f->rcpt && f->rcpt <= j->ngiven)
            j->given[f->rcpt - 1].own = true;
    }
}

/* Numbers of the judgements that several recipients may share: one for each profile. */
struct shared {
    uint32_t *items, n;
};

/* One for all who have the same profile and nothing of their own. */
static int
judge_one(struct tx *tx, uint32_t number, struct shared *shared)
{
    const struct verdict *const verdicts[] = {&tx->session->verdict, &tx->verdict};
    struct judging *j = &tx->judging;
    struct judge_given *given = &j->given[number];

    for (uint32_t i = 0; i < shared->n && !given->own; i++) {
        given->judgement = shared->items[i];
        if (j->judgements[given->judgement].profile == given->profile)
            return 0;
    }
    given->judgement = j->n++;
    if (!given->own)
        shared->items[shared->n++] = given->judgement;
    return verdict_judge(&j->judgements[given->judgement], &tx->arena, given->profile, verdicts,
                         ARRAY_LEN(verdicts), number + 1);
}

static int
judge_all(struct tx *tx)
{
    struct judging *j = &tx->judging;
    struct shared shared = {0};
    int rc = 0;

    j->judgements = ARENA_ARRAY(&tx->arena, struct judgement, j->ngiven + 1);
    shared.items = ARENA_ARRAY(&tx->arena, uint32_t, j->ngiven + 1);
    if (!j->judgements || !shared.items)
        return ERR_NOMEM;
    mark_own(tx);
    for (uint32_t i = 0; i < j->ngiven && rc == 0; i++)
        rc = judge_one(tx, i, &shared);
    return rc;
}

static struct judgement *
judgement_of(const struct judging *j, uint32_t given)
{
    return &j->judgements[j->given[given].judgement];
}

/* Held is what nobody wants delivered: an alias may lead several recipients to one. */
static void
mark_held(struct tx *tx)
{
    struct judging *j = &tx->judging;

    for (unsigned held = 2; held-- > 0;) { /* first those that hold, then those that do not */
        for (uint32_t i = 0; i < j->naims; i++) {
            const struct judge_aim *a = &j->aims[i];
            uint8_t *flags = &tx->variants[a->variant].rcpts[a->index].flags;

            if ((judgement_of(j, a->given)->applied == VERDICT_HOLD) != (held == 1))
                continue;
            *flags = held ? *flags | SPOOL_RCPT_HOLD : *flags & (uint8_t)~SPOOL_RCPT_HOLD;
        }
    }
}

/* The findings that weigh most, for the sender's eyes: names, neither weights nor thresholds. */
static void
reply_names(const struct judgement *j, char *text, size_t cap)
{
    const struct judged_line *before = NULL;
    size_t n = 0;

    for (unsigned i = 0; i < NAMED_MOST; i++) {
        const struct judged_line *best = NULL;

        for (unsigned k = 0; k < j->n; k++) {
            const struct judged_line *l = &j->lines[k];
            bool behind = !before || l->weight < before->weight ||
                          (l->weight == before->weight && l > before);

            if (l->finding && !l->observed && l->weight > 0 && behind &&
                (!best || l->weight > best->weight))
                best = l;
        }
        if (!best)
            break;
        n += str_fmt(text + n, cap - n, "%s%s.%s", n ? ", " : "", best->finding->check,
                     best->finding->name);
        before = best;
    }
}

static void
reply_make(const struct tx *tx, uint8_t action, struct judge_reply *ret)
{
    const struct judging *j = &tx->judging;
    const struct judgement *by = &j->judgements[0];
    char names[192] = "", ask[160];

    for (uint32_t i = 0; i < j->n; i++) {
        if (j->judgements[i].action == action)
            by = &j->judgements[i];
    }
    if (by->by && by->by->code) {
        ret->code = by->by->code;
        ret->enhanced = by->by->enhanced;
        str_fmt(ret->text, sizeof(ret->text), "%.*s", (int)MIN(by->by->text.n, (size_t)500),
                by->by->text.p);
        return;
    }
    reply_names(by, names, sizeof(names));
    str_fmt(ask, sizeof(ask), "%.*s", STR_ARG(tx->session->setup->main->hostname));
    ret->code = action == VERDICT_REFUSE ? 550 : 451;
    ret->enhanced = action == VERDICT_REFUSE ? "5.7.1" : "4.7.1";
    if (action == VERDICT_REFUSE)
        str_fmt(ret->text, sizeof(ret->text),
                "The message looks like unwanted mail (%s); if it is none, write to postmaster@%s "
                "from elsewhere",
                names, ask);
    else
        str_fmt(ret->text, sizeof(ret->text),
                "The message cannot be trusted now (%s); try again later", names);
}

bool
judge_message(struct tx *tx, struct judge_reply *ret)
{
    struct judging *j = &tx->judging;
    uint8_t *actions, together = VERDICT_PASS;

    if (tx->status < 0) /* it will not be taken anyway, and for a better reason */
        return true;
    if (!judge_found(&tx->session->verdict) && !judge_found(&tx->verdict))
        return true;
    actions = ARENA_ARRAY(&tx->arena, uint8_t, j->ngiven + 1);
    if (!actions || judge_all(tx) < 0) {
        j->n = 0;
        *ret = (struct judge_reply){.code = 451, .enhanced = "4.3.0"};
        str_fmt(ret->text, sizeof(ret->text), "No memory to judge the message; try again later");
        return false;
    }
    for (uint32_t i = 0; i < j->ngiven; i++)
        actions[i] = judgement_of(j, i)->action;
    if (!tx->may_relay) /* those are answered by checks, stage by stage */
        together = verdict_together(actions, j->ngiven);
    for (uint32_t i = 0; i < j->n; i++) {
        struct judgement *one = &j->judgements[i];

        if (tx->may_relay && verdict_replies(one->action))
            one->applied = VERDICT_PASS;
        else
            one->applied = verdict_applied(one->action, together);
    }
    if (!verdict_replies(together)) {
        mark_held(tx);
        return true;
    }
    reply_make(tx, together, ret);
    return false;
}

/* ---- in the message ---- */

static bool
judgement_marks(const struct judgement *j)
{
    return j->applied == VERDICT_TAG || j->applied == VERDICT_HOLD;
}

/* A profile's name may hold anything; a header may not. */
static void
put_name(struct buf *out, struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        buf_char(out, c > ' ' && c < 127 && c != ';' && c != '"' ? c : '_');
    }
}

void
judge_fields(const struct tx *tx, struct buf *out, bool must)
{
    unsigned shown = 0;
    char points[32];

    for (uint32_t i = 0; !tx->may_relay && i < tx->judging.n && shown < FIELDS_MOST; i++) {
        const struct judgement *j = &tx->judging.judgements[i];

        if (!judgement_marks(j))
            continue;
        buf_fmt(out, "X-Gapura-Verdict: %s; score=%s", verdict_action_name(j->applied),
                verdict_points(j->total, points));
        if (j->profile) {
            buf_c(out, "; profile=");
            put_name(out, j->profile->name);
        }
        buf_c(out, "\r\n");
        shown++;
    }
    if (must && !shown)
        buf_c(out, "X-Gapura-Verdict: pass\r\n");
}

/* ---- the record ---- */

/* Judgements of one variant: those that are used, and which one is each recipient's. */
struct used {
    struct judgement judgements[RECORD_VERDICTS_MAX];
    uint32_t numbers[RECORD_VERDICTS_MAX]; /* among the message's */
    unsigned n;
};

static uint8_t
used_number(struct used *u, const struct judging *j, uint32_t number)
{
    for (unsigned i = 0; i < u->n; i++) {
        if (u->numbers[i] == number)
            return (uint8_t)i;
    }
    if (u->n == RECORD_VERDICTS_MAX)
        return RECORD_NOT_TOLD;
    u->judgements[u->n] = j->judgements[number];
    u->numbers[u->n] = number;
    return (uint8_t)u->n++;
}

/* Of several recipients that led to one, the mildest verdict is the one that counted. */
static uint8_t *
used_by(struct used *u, const struct tx *tx, const struct tx_variant *v, struct arena *arena)
{
    const struct judging *j = &tx->judging;
    uint32_t *best = ARENA_ARRAY(arena, uint32_t, v->n + 1);
    uint8_t *of = ARENA_ARRAY(arena, uint8_t, v->n + 1);

    if (!best || !of)
        return NULL;
    for (uint32_t i = 0; i < j->naims; i++) {
        const struct judge_aim *a = &j->aims[i];
        uint32_t number = j->given[a->given].judgement + 1;

        if (&tx->variants[a->variant] != v)
            continue;
        if (!best[a->index] ||
            j->judgements[number - 1].applied < j->judgements[best[a->index] - 1].applied)
            best[a->index] = number;
    }
    for (uint32_t i = 0; i < v->n; i++)
        of[i] = best[i] ? used_number(u, j, best[i] - 1) : RECORD_NOT_TOLD;
    return of;
}

/* Before the end of a message: what the recipient's profile, or the one for all, says so far. */
static int
judge_so_far(const struct session *s, const struct tx *tx, bool rcpt, struct arena *arena,
             struct judgement *ret)
{
    const struct verdict *const verdicts[] = {&s->verdict, tx ? &tx->verdict : NULL};
    const struct profile *p = s->trusted || s->facts.user.n ? NULL : s->setup->profile;

    if (tx && (rcpt || tx->may_relay))
        p = judge_profile(s, tx);
    else if (tx && tx->judging.ngiven)
        p = tx->judging.given[0].profile;
    return verdict_judge(ret, arena, p, verdicts, ARRAY_LEN(verdicts),
                         rcpt ? s->facts.rcpt_number : 0);
}

int
judge_record(const struct session *s, const struct tx *tx, const struct tx_variant *v, bool rcpt,
             struct arena *arena, struct record *ret)
{
    uint64_t settings = s->setup->conf->generation;
    struct judgement so_far;
    struct used *used;
    uint8_t *of;
    int rc;

    *ret = (struct record){0};
    if (!judge_found(&s->verdict) && !(tx && judge_found(&tx->verdict)))
        return 0;
    if (!tx || !tx->judging.n) {
        rc = judge_so_far(s, tx, rcpt, arena, &so_far);
        return rc < 0 ? rc : record_make(ret, arena, settings, &so_far, 1, NULL, 0);
    }
    if (!v)
        return record_make(ret, arena, settings, tx->judging.judgements, tx->judging.n, NULL, 0);
    used = ARENA_NEW(arena, struct used);
    of = used ? used_by(used, tx, v, arena) : NULL;
    if (!of)
        return ERR_NOMEM;
    return record_make(ret, arena, settings, used->judgements, used->n, used->n > 1 ? of : NULL,
                       v->n);
}

struct str
judge_bytes(struct tx_variant *v)
{
    struct tx *tx = v->tx;
    CLEANUP(buf_done) struct buf bytes;
    struct str kept = STR_NONE;

    buf_init(&bytes, RECORD_MAX);
    if (!tx->judging.n && !tx->auth.common)
        return kept;
    v->record = ARENA_NEW(&tx->arena, struct record);
    if (!v->record ||
        (tx->judging.n && judge_record(tx->session, tx, v, false, &tx->arena, v->record) < 0)) {
        v->record = NULL;
        return kept;
    }
    judge_spf(tx, v->record);
    if (!tx->judging.n && !v->record->nspf) {
        v->record = NULL;
        return kept;
    }
    v->record->settings = tx->session->setup->conf->generation;
    record_encode(&bytes, v->record);
    if (!bytes.failed && bytes.n)
        kept = arena_str(&tx->arena, buf_view(&bytes));
    return kept.p ? kept : STR_NONE;
}
