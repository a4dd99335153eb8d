/*
 * lab/law.c - what a fake mailbox provider answers, from its settings, its memory and the time.
 *
 * Called by provider.c and by unit tests with a clock of their own.
 */
#include "lab/law.h"

#include <stdlib.h>

#include "core/clock.h"
#include "mail/header.h"

#define HASTE_AGE     (120 * NS_PER_S)
#define HASTE_MOST    20u
#define UNKNOWN_LEAST 5u /* unknown recipients before their share counts */

static bool
any_fits(const struct conf_list *patterns, struct str text)
{
    const struct str *p = patterns->items;

    for (size_t i = 0; i < patterns->n; i++) {
        if (lab_pattern_fits(p[i], text))
            return true;
    }
    return false;
}

/* --- its life --- */

int
law_init(struct law *l, const struct settings_provider *p, uint64_t memory)
{
    const struct str texts[] = {
        [LAW_SESSIONS] = p->sessions_reply, [LAW_PER_SESSION] = p->per_session_reply,
        [LAW_RATE] = p->rate_reply,         [LAW_UNKNOWN] = p->unknown_reply,
        [LAW_FULL] = p->full_reply,         [LAW_GREYLIST] = p->greylist_reply,
        [LAW_ACCEPT] = p->accept_reply,
    };
    const struct str *opinions = p->opinion.items;
    enum lab_opinion at;
    uint32_t points;
    int rc = 0;

    *l = (struct law){.p = p, .ngreylist = p->greylist ? memory : 0};
    for (size_t i = 0; i < LAW_ANSWERS && !rc; i++)
        rc = lab_reply_parse(texts[i], i == LAW_ACCEPT, &l->replies[i]);
    for (size_t i = 0; i < p->opinion.n && !rc; i++) {
        rc = lab_opinion_parse(opinions[i], &at, &points);
        if (!rc)
            l->points[at] = points;
    }
    if (rc || !l->ngreylist)
        return rc;
    l->greylist = calloc(l->ngreylist, sizeof(*l->greylist));
    return l->greylist ? 0 : ERR_NOMEM;
}

void
law_done(struct law *l)
{
    free(l->greylist);
    l->greylist = NULL;
    l->ngreylist = 0;
}

static const struct lab_reply *
law_say(struct law *l, enum law_answer a)
{
    return &l->replies[a];
}

/* --- a session --- */

static struct law_client *
client_of(struct law *l, const struct addr *a, uint64_t now)
{
    struct law_client *oldest = NULL;

    for (size_t i = 0; i < LAW_CLIENTS; i++) {
        struct law_client *c = &l->clients[i];

        if (c->since && addr_eq(&c->addr, a))
            return c;
        if (!c->sessions && (!oldest || c->last < oldest->last))
            oldest = c;
    }
    if (oldest)
        *oldest = (struct law_client){.addr = *a, .since = now ? now : 1, .last = now};
    return oldest;
}

/* Each session ends one stage later than the one before it; behind the last one comes a session
 * that is let through, so that mail arrives in the end. */
static enum lab_stage
next_drop(struct law *l)
{
    enum lab_stage stages[LAB_STAGES];
    unsigned n = 0, at;

    for (unsigned s = 0; s < LAB_STAGES; s++) {
        if (l->p->drop & (1u << s))
            stages[n++] = (enum lab_stage)s;
    }
    if (!n)
        return LAB_STAGES;
    at = l->turn++ % (n + 1);
    if (at == n)
        return LAB_STAGES;
    return stages[at];
}

const struct lab_reply *
law_connect(struct law *l, const struct addr *a, uint64_t now, struct law_client **ret_client,
            enum lab_stage *ret_drop)
{
    struct law_client *c = client_of(l, a, now);

    *ret_client = NULL;
    *ret_drop = LAB_STAGES;
    if (!c || (l->p->sessions_per_client && c->sessions >= l->p->sessions_per_client))
        return law_say(l, LAW_SESSIONS);
    c->sessions++;
    c->last = now;
    *ret_client = c;
    *ret_drop = next_drop(l);
    return NULL;
}

void
law_leave(struct law *l, struct law_client *c)
{
    (void)l;
    if (c && c->sessions)
        c->sessions--;
}

const struct lab_reply *
law_mail(struct law *l, unsigned messages_of_session, uint64_t now)
{
    if (l->p->messages_per_session && messages_of_session >= l->p->messages_per_session)
        return law_say(l, LAW_PER_SESSION);
    return bucket_take(&l->messages, &l->p->rate, now) ? law_say(l, LAW_RATE) : NULL;
}

/* As most do it: the client's network, the sender and the recipient together. */
static bool
must_wait(struct law *l, const struct law_client *c, struct str from, struct str to, uint64_t now)
{
    struct addr net = addr_masked(&c->addr, addr_is_v4(&c->addr) ? 120 : 64);
    uint64_t key = str_hash(str_of(net.b, sizeof(net.b)), 1);
    struct law_waiting *w;

    if (!l->ngreylist)
        return false;
    key = str_ihash(to, str_ihash(from, key)) | 1;
    w = &l->greylist[key % l->ngreylist];
    if (w->key != key) /* new, or it takes the place of another: memory has an end */
        *w = (struct law_waiting){.key = key, .since = now};
    return now - w->since < l->p->greylist;
}

const struct lab_reply *
law_rcpt(struct law *l, struct law_client *c, struct str from, struct str to, uint64_t now)
{
    ssize_t at = str_rchr(to, '@');
    struct str local = at < 0 ? to : str_sub(to, 0, (size_t)at);

    if (any_fits(&l->p->unknown, local)) {
        c->unknown++;
        return law_say(l, LAW_UNKNOWN);
    }
    c->known++;
    if (any_fits(&l->p->full, local))
        return law_say(l, LAW_FULL);
    return must_wait(l, c, from, to, now) ? law_say(l, LAW_GREYLIST) : NULL;
}

/* --- opinions --- */

struct judged {
    const struct law *law;
    const struct law_client *client;
    const struct law_facts *facts;
    uint64_t now;
};

static bool
field(const struct judged *j, struct str name, char *dst, size_t cap, struct str *ret)
{
    struct header_field f;

    if (!header_find(j->facts->header, name, &f))
        return false;
    *ret = str_of(dst, header_unfold(f.value, dst, cap));
    return true;
}

static bool
is_unsigned(const struct judged *j)
{
    struct header_field f;
    return !header_find(j->facts->header, STR("DKIM-Signature"), &f);
}

static bool
is_clear(const struct judged *j)
{
    return !j->facts->tls;
}

static int
same_domain(void *ctx, struct str mailbox)
{
    struct str *domain = ctx;
    ssize_t at = str_rchr(mailbox, '@');

    if (at >= 0 && str_ieq(str_from(mailbox, (size_t)at + 1), *domain))
        domain->n = 0; /* found */
    return 0;
}

static bool
is_foreign(const struct judged *j)
{
    ssize_t at = str_rchr(j->facts->from, '@');
    struct str domain = at < 0 ? STR_NONE : str_from(j->facts->from, (size_t)at + 1);
    struct header_field f;

    if (!domain.n)
        return false; /* a report: nobody to be like */
    if (header_find(j->facts->header, STR("From"), &f))
        header_mailboxes(f.value, same_domain, &domain);
    return domain.n > 0;
}

static bool
is_guessing(const struct judged *j)
{
    const struct law_client *c = j->client;
    return c->unknown >= UNKNOWN_LEAST && c->unknown * 10 > c->unknown + c->known;
}

static bool
is_hasty(const struct judged *j)
{
    return j->now - j->client->since < HASTE_AGE && j->client->messages > HASTE_MOST;
}

static bool
is_shouting(const struct judged *j)
{
    char text[256];
    struct str s;
    size_t high = 0, low = 0;

    if (!field(j, STR("Subject"), text, sizeof(text), &s))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        high += s.p[i] >= 'A' && s.p[i] <= 'Z';
        low += s.p[i] >= 'a' && s.p[i] <= 'z';
    }
    return high > 6 && high > 2 * low;
}

static bool
holds(struct str text, struct str word)
{
    for (size_t i = 0; word.n && i + word.n <= text.n; i++) {
        if (str_ieq(str_sub(text, i, word.n), word))
            return true;
    }
    return false;
}

static bool
has_words(const struct judged *j)
{
    const struct str *w = j->law->p->words.items;
    char text[256];
    struct str subject = STR_NONE;

    field(j, STR("Subject"), text, sizeof(text), &subject);
    for (size_t i = 0; i < j->law->p->words.n; i++) {
        if (holds(subject, w[i]) || holds(j->facts->body, w[i]))
            return true;
    }
    return false;
}

static bool
is_nameless(const struct judged *j)
{
    struct header_field f;
    return !header_find(j->facts->header, STR("Message-ID"), &f) ||
           !header_find(j->facts->header, STR("Date"), &f);
}

static bool (*const opinions[LAB_OPINIONS])(const struct judged *) = {
    [LAB_UNSIGNED] = is_unsigned, [LAB_CLEAR] = is_clear,       [LAB_FOREIGN] = is_foreign,
    [LAB_GUESSING] = is_guessing, [LAB_HASTY] = is_hasty,       [LAB_SHOUTING] = is_shouting,
    [LAB_WORDS] = has_words,      [LAB_NAMELESS] = is_nameless,
};

bool
law_message(struct law *l, struct law_client *c, const struct law_facts *facts, uint64_t now,
            char *why, size_t cap)
{
    const struct judged j = {l, c, facts, now};
    char reasons[192] = "";
    uint64_t sum = 0;
    size_t n = 0;
    bool any = false, spam;

    c->messages++;
    c->last = now;
    for (size_t i = 0; i < LAB_OPINIONS; i++) {
        any = any || l->points[i];
        if (!l->points[i] || !opinions[i](&j))
            continue;
        sum += l->points[i];
        n += str_fmt(reasons + n, sizeof(reasons) - n, "%s%s %u.%02u", n ? ", " : "",
                     lab_opinion_names[i], l->points[i] / 100, l->points[i] % 100);
    }
    spam = any && sum >= l->p->spam_at * 100;
    why[0] = 0;
    if (any)
        str_fmt(why, cap, "%llu.%02llu of %llu%s%s", (unsigned long long)(sum / 100),
                (unsigned long long)(sum % 100), (unsigned long long)l->p->spam_at, n ? ": " : "",
                reasons);
    return spam;
}
