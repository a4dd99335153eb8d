/*
 * courier/reply_class.c - the classifier: gathers evidence, lets the best decide.
 *
 * Called by outcome, by the reader of reports and by `gapura replies`. Never allocates, knows no
 * clock; the set is read only, so threads may share one.
 */
#include "courier/reply_class_inner.h"

#include <string.h>

#define FOUND_MAX 96u

struct evidence {
    const struct reply_classes *s;
    struct reply_text text;
    uint16_t code, enhanced[3];
    uint8_t phase, severity; /* 4 or 5 by code, else by enhanced code; 0: nothing said */
    uint32_t provider;
    uint32_t found[FOUND_MAX];
    uint32_t nfound;
    const struct reply_rule *best;
    struct str name;                /* of the best */
    const struct reply_rule *codes; /* the best of those without text; NULL: none */
    uint32_t codes_score;
    uint32_t score;
};

static const struct reply_rule *
found_rule(const struct evidence *e, uint32_t i)
{
    return &e->s->rules[e->s->ends[e->found[i]].rule];
}

static uint32_t
provider_of_host(const struct reply_classes *s, struct str host)
{
    while (host.n > 0 && host.p[host.n - 1] == '.')
        host.n--;
    for (uint32_t i = 1; i < s->nproviders; i++) {
        for (uint32_t k = 0; k < s->providers[i].nhosts; k++) {
            struct str h = s->providers[i].hosts[k];
            if (str_iends(host, h) && (host.n == h.n || host.p[host.n - h.n - 1] == '.'))
                return i;
        }
    }
    return 0;
}

static uint32_t
provider_of(const struct evidence *e, const struct reply_input *in)
{
    uint32_t at;

    for (uint32_t i = 1; in->provider.n > 0 && i < e->s->nproviders; i++) {
        if (str_ieq(e->s->providers[i].name, in->provider))
            return i;
    }
    at = in->host.n > 0 ? provider_of_host(e->s, in->host) : 0;
    for (uint32_t i = 0; at == 0 && i < e->nfound; i++) {
        const struct reply_rule *r = found_rule(e, i);
        if (r->class == REPLY_CLASS_COUNT)
            at = r->provider;
    }
    return at || in->domain.n == 0 ? at : provider_of_host(e->s, in->domain);
}

/* A provider's words count where nobody knows who spoke if nobody else uses them. */
static bool
provider_fits(const struct evidence *e, const struct reply_rule *r)
{
    if (r->provider == 0 || r->provider == e->provider)
        return true;
    return e->provider == 0 && !r->bare && !r->known;
}

static bool
rule_fits(const struct evidence *e, const struct reply_rule *r)
{
    if (r->class == REPLY_CLASS_COUNT || !provider_fits(e, r))
        return false;
    if (r->code_from && (e->code < r->code_from || e->code > r->code_to))
        return false;
    if (!(r->phases & 1u << e->phase))
        return false;
    for (unsigned i = 0; i < 3; i++) {
        if (r->enhanced[i] == REPLY_ENH_ANY)
            continue;
        if (e->enhanced[0] == 0 || e->enhanced[i] < r->enhanced[i] ||
            e->enhanced[i] > (i == 2 ? r->detail_to : r->enhanced[i]))
            return false;
    }
    return true;
}

static uint8_t
rule_tier(const struct evidence *e, const struct reply_rule *r)
{
    if (r->tier == REPLY_TIER_PROVIDER && e->provider == 0)
        return REPLY_TIER_TEXT_STRONG;
    return r->tier;
}

static void
consider(struct evidence *e, const struct reply_rule *r, struct str name)
{
    uint32_t score;
    unsigned exact = 0;

    if (!rule_fits(e, r))
        return;
    for (unsigned i = 0; i < 3; i++)
        exact += r->enhanced[i] != REPLY_ENH_ANY;
    exact += (r->code_from != 0) + (r->code_from != 0 && r->code_from == r->code_to);
    exact += r->phases != UINT8_MAX;
    if (r->bare)
        score = exact << 8 | reply_laws[r->class].rank;
    else
        score = (uint32_t)reply_laws[r->class].rank << 8 | exact;
    score |= (uint32_t)rule_tier(e, r) << 16;
    if (r->bare && (score > e->codes_score || !e->codes)) {
        e->codes = r;
        e->codes_score = score;
    }
    if (score > e->score || !e->best) {
        e->best = r;
        e->name = name;
        e->score = score;
    }
}

static void
consider_bare(struct evidence *e)
{
    unsigned subject = e->enhanced[0] ? MIN(e->enhanced[1], 10) : 10;

    for (uint32_t at = e->s->bare[10]; at; at = e->s->rules[at].next)
        consider(e, &e->s->rules[at], e->s->rules[at].name);
    for (uint32_t at = subject < 10 ? e->s->bare[subject] : 0; at; at = e->s->rules[at].next)
        consider(e, &e->s->rules[at], e->s->rules[at].name);
}

#define BIT(class) (UINT64_C(1) << REPLY_CLASS_##class)
#define ABSENCE    (BIT(MAILBOX) | BIT(DOMAIN) | BIT(NO_MAIL) | BIT(MOVED))

/* The registered meaning of a code that contradicts a text of absence: the safer one stands. So it
 * does between classes that plain words confuse: a quota of a mailbox is no rate. */
static uint8_t
class_by_code(const struct evidence *e, uint8_t class)
{
    static const struct {
        uint16_t subject, from, to;
        uint8_t class;
        uint64_t absence, plain; /* classes that give way: whatever words say them, or plain ones */
    } rows[] = {
        {1, 7, 8, REPLY_CLASS_SENDER, ABSENCE, BIT(BLOCK) | BIT(DNS) | BIT(POLICY) | BIT(RELAY)},
        {2, 2, 2, REPLY_CLASS_FULL, ABSENCE,
         BIT(RATE) | BIT(DISK) | BIT(SIZE) | BIT(POLICY) | BIT(SYSTEM) | BIT(TEMPORARY)},
        {2, 3, 3, REPLY_CLASS_SIZE, 0, BIT(RATE) | BIT(FULL) | BIT(POLICY)},
        {3, 1, 1, REPLY_CLASS_DISK, 0, BIT(SYSTEM) | BIT(TEMPORARY)},
        {3, 4, 4, REPLY_CLASS_SIZE, 0, BIT(RATE) | BIT(FULL) | BIT(POLICY)},
        {6, 0, 999, REPLY_CLASS_MALFORMED, ABSENCE, 0},
        {7, 10, 10, REPLY_CLASS_TLS, 0, BIT(BLOCK) | BIT(POLICY) | BIT(ACCESS)},
        {7, 20, 24, REPLY_CLASS_AUTH, ABSENCE, BIT(BLOCK) | BIT(POLICY) | BIT(ACCESS)},
        {7, 25, 25, REPLY_CLASS_PTR, ABSENCE, BIT(BLOCK) | BIT(POLICY) | BIT(ACCESS) | BIT(DNS)},
        {7, 26, 26, REPLY_CLASS_AUTH, ABSENCE, BIT(BLOCK) | BIT(POLICY) | BIT(ACCESS)},
        {7, 28, 28, REPLY_CLASS_RATE, ABSENCE, 0},
    };
    uint64_t is = UINT64_C(1) << class;
    bool plain = e->best->tier <= REPLY_TIER_TEXT;

    for (size_t i = 0; e->enhanced[0] && i < ARRAY_LEN(rows); i++) {
        if (e->enhanced[1] == rows[i].subject && e->enhanced[2] >= rows[i].from &&
            e->enhanced[2] <= rows[i].to && (is & rows[i].absence || (plain && is & rows[i].plain)))
            return rows[i].class;
    }
    return class;
}

/* What a server says of us, of our mail or of our volume, whatever else it says. */
static bool
is_said_of_us(const struct reply_rule *r)
{
    switch (r->class) {
    case REPLY_CLASS_SPAM:
    case REPLY_CLASS_VIRUS:
    case REPLY_CLASS_CONTENT:
    case REPLY_CLASS_AUTH:
    case REPLY_CLASS_BLOCK:
    case REPLY_CLASS_REPUTATION:
    case REPLY_CLASS_PTR:
    case REPLY_CLASS_RATE:
        return true;
    default:
        return false;
    }
}

/* A refusal of us beside evidence of absence: plain words of it outweigh even a provider's own ("no
 * such user" is how some answer those they block), weak ones a code that no words of absence stand
 * by ("550 5.1.1 spam"). REPLY_CLASS_COUNT: none. */
static uint8_t
refusal_beside(const struct evidence *e)
{
    uint8_t from = e->best->bare ? REPLY_TIER_TEXT_WEAK : REPLY_TIER_TEXT;
    uint8_t is = REPLY_CLASS_COUNT;

    for (uint32_t i = 0; i < e->nfound; i++) {
        const struct reply_rule *r = found_rule(e, i);
        if (r->class == REPLY_CLASS_COUNT || !rule_fits(e, r))
            continue;
        if (e->best->bare && reply_class_is_hard(r->class))
            return REPLY_CLASS_COUNT;
        if (r->tier >= from && is_said_of_us(r) &&
            (is == REPLY_CLASS_COUNT || reply_laws[r->class].rank > reply_laws[is].rank))
            is = r->class;
    }
    return is;
}

/* "Address" in the languages that we know, as words begin; an ideograph and a kana is a word. */
static const char *const address_words[] = {
    "address", "adress", "adres",  "direccion", "indirizz", "enderec", "alamat", "адрес",
    "osoit",   "cim",    "адреса", "地",        "位",       "ア",      "주",
};

/* Is every address that the text speaks of one of a host? "IP address unknown" is no recipient. */
static bool
speaks_of_ip(const struct reply_text *t)
{
    bool ip = false, other = false;

    for (unsigned i = 0; i < t->nwords; i++) {
        struct str word = reply_text_word(t, i);
        struct str before = i ? reply_text_word(t, i - 1) : STR_NONE;
        struct str after = i + 1u < t->nwords ? reply_text_word(t, i + 1u) : STR_NONE;
        size_t k = 0;

        if (str_starts(word, STR("ip-"))) {
            ip = true;
            continue;
        }
        while (k < ARRAY_LEN(address_words) && !str_starts(word, str_c(address_words[k])))
            k++;
        if (k == ARRAY_LEN(address_words))
            continue;
        if (str_eq(before, STR("ip")) || str_eq(after, STR("ip")))
            ip = true;
        else
            other = true;
    }
    return ip && !other;
}

/* "Does not accept mail from ...", "without ...": it does accept other mail. */
static bool
is_limited(const struct reply_text *t)
{
    static const char *const mails[] = {"mail", "mails", "email", "emails", "e-mail", "messages"};
    static const char *const limits[] = {"from",   "with",  "without", "in",     "larger",
                                         "bigger", "over",  "via",     "unless", "containing",
                                         "that",   "which", "through"};

    for (unsigned i = 0; i + 1u < t->nwords; i++) {
        bool mail = false, limit = false;

        for (size_t k = 0; k < ARRAY_LEN(mails); k++)
            mail |= str_eq(reply_text_word(t, i), str_c(mails[k]));
        for (size_t k = 0; mail && k < ARRAY_LEN(limits); k++)
            limit |= str_eq(reply_text_word(t, i + 1u), str_c(limits[k]));
        if (limit)
            return true;
    }
    return false;
}

/* Was it words about an address that decided? */
static bool
is_by_address(struct str pattern)
{
    for (size_t i = 0; i < ARRAY_LEN(address_words); i++)
        if (str_find(pattern, str_c(address_words[i])) >= 0)
            return true;
    return false;
}

/* Plain words of absence beside words of the sender, or of a trouble that passes, are not clear
 * enough: "sender: user unknown", "unable to verify the recipient, try again later". */
static uint8_t
class_by_words(const struct evidence *e, uint8_t class)
{
    bool recipient = e->enhanced[0] && e->enhanced[1] == 1 && e->enhanced[2] != 0 &&
                     (e->enhanced[2] < 7 || e->enhanced[2] == 10);
    uint8_t is = class, refusal;
    bool strong = e->best->tier == REPLY_TIER_TEXT_STRONG && class != REPLY_CLASS_DOMAIN;

    if (!reply_class_is_hard(class))
        return class;
    refusal = e->best->tier == REPLY_TIER_TEXT_STRONG ? REPLY_CLASS_COUNT : refusal_beside(e);
    if (refusal != REPLY_CLASS_COUNT)
        return refusal;
    if (!e->best->bare && is_by_address(e->name) && speaks_of_ip(&e->text))
        return REPLY_CLASS_BLOCK;
    if (e->best->tier < REPLY_TIER_TEXT || e->best->tier == REPLY_TIER_PROVIDER)
        return class;
    if (!strong && class == REPLY_CLASS_NO_MAIL && is_limited(&e->text))
        is = REPLY_CLASS_POLICY;
    for (uint32_t i = 0; i < e->nfound; i++) {
        const struct reply_rule *r = found_rule(e, i);
        if (r->class == REPLY_CLASS_COUNT || !rule_fits(e, r))
            continue;
        if (r->class == REPLY_CLASS_SENDER && !recipient && (!strong || r->tier >= REPLY_TIER_TEXT))
            is = REPLY_CLASS_SENDER;
        if (r->class == REPLY_CLASS_SYSTEM && strong && !recipient &&
            r->tier >= REPLY_TIER_TEXT_STRONG && is == class)
            is = REPLY_CLASS_SYSTEM;
        if (r->class == REPLY_CLASS_TEMPORARY && !strong && r->tier >= REPLY_TIER_TEXT &&
            is == class)
            is = REPLY_CLASS_TEMPORARY;
    }
    return is;
}

/* That a mailbox is not there is said in answer to RCPT (551 and 553 are, RFC 5321 section 4.3.2),
 * by an enhanced code of addresses (x.1.z) or of the command (5.5.0: RCPT refused), or in words
 * that a provider has for nothing else. The same words after the data are what a recipient's filter
 * says, and at a point that is not told they may be: not enough to give an address up. */
static bool
absence_is_certain(const struct evidence *e)
{
    if (e->phase == REPLY_PHASE_RCPT || (e->enhanced[0] && e->enhanced[1] == 1))
        return true;
    if (e->phase == REPLY_PHASE_DOT)
        return false;
    if (e->code == 0) /* a report's own words; those of a provider need him to have spoken */
        return e->phase == REPLY_PHASE_UNKNOWN &&
               (e->best->tier != REPLY_TIER_PROVIDER || e->provider);
    return e->code == 551 || e->code == 553 || e->best->tier == REPLY_TIER_PROVIDER ||
           (e->enhanced[0] == 5 && e->enhanced[1] == 5 && e->enhanced[2] == 0);
}

/* A code of mailboxes: it was there. */
static uint8_t
absence_uncertain(const struct evidence *e)
{
    return e->enhanced[1] == 2 && e->enhanced[2] == 1 ? REPLY_CLASS_INACTIVE : REPLY_CLASS_FILTERED;
}

/* For ever only by two witnesses: words of absence, and the point (RCPT) or the registered code at
 * which they are said of an address. */
static bool
absence_is_proven(const struct evidence *e)
{
    bool words = !e->best->bare && e->best->tier >= REPLY_TIER_TEXT;

    if (e->enhanced[0])
        return words && e->severity == 5 && e->enhanced[1] == 1;
    return words && e->severity == 5 && e->phase == REPLY_PHASE_RCPT;
}

/* RFC 4954: what these say is unknown is who logs in. */
static bool
is_about_login(uint16_t code)
{
    return code == 530 || code == 534 || code == 535 || code == 538;
}

/* What a class cannot be at that point. */
static uint8_t
class_at_phase(const struct evidence *e, uint8_t class)
{
    bool recipient = reply_laws[class].scope == REPLY_SCOPE_RECIPIENT;

    class = class_by_words(e, class_by_code(e, class));
    if (reply_class_is_hard(class) && is_about_login(e->code))
        return REPLY_CLASS_ACCESS;
    /* A domain that is not there "for now" is a server of names that does not answer. */
    if (class == REPLY_CLASS_DOMAIN && e->severity == 4)
        return REPLY_CLASS_DNS;
    if (class == REPLY_CLASS_NO_MAIL && e->code && e->severity == 4) /* 4.3.2: not now */
        return REPLY_CLASS_SYSTEM;
    /* Nothing was said of a recipient before RCPT. */
    if (e->phase == REPLY_PHASE_CONNECT && e->code && (recipient || reply_class_is_hard(class)))
        return REPLY_CLASS_HOST;
    if (e->phase == REPLY_PHASE_MAIL && reply_class_is_hard(class))
        return REPLY_CLASS_SENDER;
    if (class == REPLY_CLASS_MAILBOX && !absence_is_certain(e))
        return absence_uncertain(e);
    /* "Try again later" at RCPT is how most greylists speak. */
    if (class == REPLY_CLASS_TEMPORARY && (e->code == 450 || e->code == 451) &&
        (e->phase == REPLY_PHASE_RCPT || e->phase == REPLY_PHASE_DATA))
        return REPLY_CLASS_GREYLIST;
    return class;
}

static uint8_t
confidence(const struct evidence *e, const struct reply_class_result *ret)
{
    static const uint8_t base[] = {
        [REPLY_TIER_PHASE] = 15,       [REPLY_TIER_CODE] = 35,     [REPLY_TIER_ENHANCED_WEAK] = 40,
        [REPLY_TIER_TEXT_WEAK] = 55,   [REPLY_TIER_ENHANCED] = 70, [REPLY_TIER_TEXT] = 80,
        [REPLY_TIER_TEXT_STRONG] = 90, [REPLY_TIER_PROVIDER] = 95,
    };
    int c = base[e->best->tier];

    for (uint32_t i = 0; i < e->nfound; i++) {
        const struct reply_rule *r = found_rule(e, i);
        if (r->class == REPLY_CLASS_COUNT || r == e->best || !rule_fits(e, r))
            continue;
        if (r->class != ret->class && r->tier >= REPLY_TIER_TEXT && r->tier >= e->best->tier)
            c -= 10; /* as good evidence for something else */
    }
    if (!e->best->bare && e->codes && e->codes->class == ret->class)
        c += 5; /* the codes say the same */
    if (ret->hard && e->severity == 4)
        c -= 25; /* a temporary code for what is said to be for good */
    if (ret->class == REPLY_CLASS_TEMPORARY && e->severity == 5)
        c -= 25;
    return (uint8_t)(c < 1 ? 1 : c > 99 ? 99 : c);
}

static void
result_plain(struct reply_class_result *ret, uint8_t class, uint8_t confidence, const char *why)
{
    *ret = (struct reply_class_result){
        .class = class, .code = ret->code, .confidence = confidence, .pattern = str_c(why)};
    reply_law_advise(ret, NULL, REPLY_TIER_CODE, 0);
}

/* In a report's text only codes that follow a final dot or a recipient are one. */
static bool
is_success(const struct evidence *e, const struct reply_input *in)
{
    return in->code ? e->code >= 200 && e->code < 300 : e->code >= 250 && e->code <= 252;
}

void
reply_classify(const struct reply_classes *s, const struct reply_input *in,
               struct reply_class_result *ret)
{
    struct evidence e;

    e.s = s;
    e.best = e.codes = NULL;
    e.score = e.codes_score = 0;
    e.phase = in->phase < REPLY_PHASE_COUNT ? in->phase : REPLY_PHASE_UNKNOWN;
    reply_text_read(&e.text, in->text, &s->names);
    e.code = in->code ? in->code : e.text.code;
    memcpy(e.enhanced, e.text.enhanced, sizeof e.enhanced);
    (void)reply_text_enhanced(in->enhanced, e.enhanced);
    e.severity = (uint8_t)(e.code ? e.code / 100 : e.enhanced[0]);
    *ret = (struct reply_class_result){.code = e.code};
    if (is_success(&e, in)) {
        result_plain(ret, REPLY_CLASS_DELIVERED, 99, "a reply of success");
        return;
    }
    if (e.code == 0 && e.phase == REPLY_PHASE_DOT && in->text.n == 0) {
        result_plain(ret, REPLY_CLASS_UNKNOWN, 99, "no reply to the final dot");
        return;
    }
    e.nfound = reply_match(s, &e.text, e.found, FOUND_MAX);
    e.provider = provider_of(&e, in);
    for (uint32_t i = 0; i < e.nfound; i++)
        consider(&e, found_rule(&e, i), s->ends[e.found[i]].name);
    consider_bare(&e);
    if (!e.best) {
        e.best = &s->rules[0];
        e.name = e.best->name;
    }
    ret->class = class_at_phase(&e, e.best->class);
    reply_law_advise(ret, ret->class == e.best->class ? e.best->override : NULL, e.best->tier,
                     e.severity);
    if (!absence_is_proven(&e))
        reply_law_probation(ret);
    ret->pattern = e.name;
    ret->confidence = confidence(&e, ret);
}
