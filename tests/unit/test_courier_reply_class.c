/*
 * tests/unit/test_courier_reply_class.c - what replies mean, and what no data may make of them.
 */
#include <time.h>

#include "courier/reply_class_inner.h"
#include "tap.h"

static struct reply_classes *set;

static struct reply_class_result
say(uint8_t phase, uint16_t code, const char *enhanced, const char *text)
{
    struct reply_input in = {
        .text = str_c(text), .code = code, .enhanced = str_c(enhanced), .phase = phase};
    struct reply_class_result r;

    reply_classify(set, &in, &r);
    return r;
}

static struct reply_class_result
by(const char *provider, const char *host, const char *text)
{
    struct reply_input in = {.text = str_c(text),
                             .provider = str_c(provider),
                             .host = str_c(host),
                             .phase = REPLY_PHASE_RCPT};
    struct reply_class_result r;

    reply_classify(set, &in, &r);
    return r;
}

#define CLASS(result, want, ...) TEXT(str_c(reply_class_name((result).class)), want, __VA_ARGS__)

static void
test_by_phase(void)
{
    static const struct {
        uint8_t phase;
        uint16_t code;
        const char *enhanced, *text;
        uint8_t class;
        bool hard;
    } cases[] = {
        {REPLY_PHASE_DOT, 250, "2.0.0", "queued", REPLY_CLASS_DELIVERED, false},
        {REPLY_PHASE_DOT, 0, "", "", REPLY_CLASS_UNKNOWN, false},
        {REPLY_PHASE_RCPT, 550, "5.1.1", "No such user here", REPLY_CLASS_MAILBOX, true},
        {REPLY_PHASE_RCPT, 550, "", "no", REPLY_CLASS_MAILBOX, false}, /* says too little */
        {REPLY_PHASE_RCPT, 450, "4.2.0", "Greylisted, come back", REPLY_CLASS_GREYLIST, false},
        {REPLY_PHASE_RCPT, 451, "", "please try again later", REPLY_CLASS_GREYLIST, false},
        {REPLY_PHASE_MAIL, 451, "", "please try again later", REPLY_CLASS_TEMPORARY, false},
        {REPLY_PHASE_RCPT, 552, "5.2.2", "over quota", REPLY_CLASS_FULL, false},
        {REPLY_PHASE_MAIL, 550, "5.1.1", "user unknown", REPLY_CLASS_SENDER, false},
        {REPLY_PHASE_CONNECT, 554, "", "no such user", REPLY_CLASS_HOST, false},
        {REPLY_PHASE_CONNECT, 554, "", "no SMTP service here", REPLY_CLASS_HOST, false},
        {REPLY_PHASE_DOT, 550, "", "User unknown", REPLY_CLASS_FILTERED, false},
        {REPLY_PHASE_DOT, 550, "5.1.1", "User unknown", REPLY_CLASS_MAILBOX, true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reply_class_result r =
            say(cases[i].phase, cases[i].code, cases[i].enhanced, cases[i].text);
        CLASS(r, reply_class_name(cases[i].class), "%d %s %s", cases[i].code, cases[i].enhanced,
              cases[i].text);
        IS(r.hard, cases[i].hard, "hard: %s", cases[i].text);
    }
}

/* The text against the code, by law. */
static void
test_contradictions(void)
{
    struct reply_class_result r = say(0, 450, "4.1.1", "<a@b.example>: user unknown in table");

    OK(r.hard && r.advice.retry != REPLY_RETRY_NO && !r.advice.suppress && r.confidence <= 70,
       "a temporary code: gone, perhaps; tried again, suppressed by nobody");
    r = say(0, 550, "", "Service refused, please try later");
    OK(!r.hard && r.advice.retry == REPLY_RETRY_LATER && r.confidence < 70,
       "a permanent code that says later: later, and not sure");
    r = say(0, 550, "5.1.1",
            "mailbox unavailable: your IP 192.0.2.7 is blacklisted, see www.spamhaus.org");
    CLASS(r, "SpamBlock", "a list behind a code of the recipient");
    OK(!r.hard && !r.advice.suppress && r.advice.retry == REPLY_RETRY_NO,
       "and nobody is suppressed");
    r = say(0, 550, "5.7.26", "user unknown");
    CLASS(r, "AuthenticationFailed", "a code of authentication outweighs words of absence");
    r = say(0, 550, "5.1.8", "no such domain");
    CLASS(r, "InvalidSender", "a code of the sender's domain, too");
    r = say(0, 451, "4.4.3", "domain not found");
    CLASS(r, "DNSFailure", "a domain that is not there for now");
    r = say(0, 421, "4.7.0", "blocked using bl.example.org, try again later");
    OK(r.class == REPLY_CLASS_BLOCK && r.advice.retry == REPLY_RETRY_LATER &&
           !r.advice.other_source,
       "a block for now: later, slower, from nowhere else");
    r = say(0, 554, "", "");
    OK(r.class == REPLY_CLASS_PERMANENT && r.confidence < 45, "a bare code is no knowledge");
}

/* Words of absence that are not the recipient's. */
static void
test_not_gone(void)
{
    static const char *const texts[] = {
        "550 5.7.1 Message rejected. Unknown sender address",
        "550 Sender user unknown",
        "550 5.1.1 Recipient rejected: sender blacklisted",
        "554 Rejected: your domain does not exist",
        "550 We do not accept mail from unknown hosts",
        "450 Client host rejected: unknown host",
        "550 Access denied: unknown client host",
        "550 Your address is not found on the whitelist",
        "550 5.7.1 Rejected: your domain not found in DNS",
        "550 Sender domain not found",
        "550 HELO domain not found",
        "550 MAIL FROM user unknown",
        "550 Return path mailbox does not exist",
        "550 unknown reason",
        "550 Unknown command",
        "550 Bounce address does not exist",
        "550 The sender's mailbox is unknown",
        "550 Callback failed: user unknown for <me@sender.example>",
        "550 Sender verify failed: user unknown",
        "550 5.7.1 DNS blacklist lookup: host unknown",
        "550 reverse lookup: host not found",
        "550 rDNS hostname not found",
        "550 Your mail server's hostname is unknown",
        "550 Domain of the sender not found",
        "554 domain name not found in reverse lookup of your IP",
        "550 no MX record for your domain",
        "550 No MX for sender domain",
        "550 5.7.1 account not authorized, user not found in sasldb",
        "535 5.7.8 Error: authentication failed: user not found",
        "550 Message refused: invalid address in From header",
        "550 invalid address in To header",
        "501 Invalid HELO host name",
        "550 5.6.0 invalid recipient header",
        "550 Too many unknown users, try later",
        "421 Too many invalid recipients",
        "550 directory harvest attack: user unknown",
        "550 spam trap hit: no such user, you are listed",
        "550 Greylisted: unknown recipient triplet",
        "550 Account limit: unknown error",
        "550 Attachment not found",
        "550 virus found, file deleted",
        "550 The message was deleted by our spam filter",
        "550 list does not exist or you are not a member",
        "550 relay denied: domain not found here",
        "550 This domain is not hosted here",
        "554 5.7.1 The file you attached is unknown",
        "550 Quota service: user not found, over quota",
        "550 mailbox has moved to another server, try again later",
        "451 4.3.0 user database unavailable: user not found",
        "450 LDAP lookup failure: user unknown",
        "550 5.1.1 temporarily unable to verify recipient",
        "550 Recipient verification failed, please try again later",
        "550 5.1.0 <me@sender.example>: Sender address rejected: User unknown in local table",
        "550 cannot verify your address: 550 5.1.1 user unknown",
        "550 user lookup failed: directory server not found",
        "550 alias file does not exist",
        "550 home directory of user not found",
        "535 user does not exist",
        "501 5.5.4 Invalid domain name in HELO",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct reply_class_result r = by("", "", texts[i]);
        OK(!r.advice.suppress && (!r.hard || r.code < 500), "%s: %s", reply_class_name(r.class),
           texts[i]);
    }
}

/* No words of a server are a complaint, an absence note or a delivery; a scanner is no virus. */
static void
test_not_said(void)
{
    static const char *const texts[] = {
        "550 virus scanner unavailable",
        "554 5.3.0 Virus scanner timed out",
        "451 4.3.0 anti-virus check failed, try again later",
        "550 5.7.1 message could not be scanned for viruses",
        "451 clamd not responding",
        "550 5.7.1 Rejected, see our feedback loop page",
        "550 5.7.1 feedback report: complaint about message from 192.0.2.1",
        "554 send an abuse report to abuse@b.example",
        "550 5.1.1 user is out of office",
        "450 automated response: on vacation",
    };
    struct buf errors;
    struct reply_classes *none = NULL;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct reply_class_result r = by("", "", texts[i]);
        OK(r.class != REPLY_CLASS_VIRUS && r.class != REPLY_CLASS_AUTOREPLY &&
               r.class != REPLY_CLASS_FEEDBACK && r.advice.suppress_s != REPLY_FOREVER,
           "%s: %s", texts[i], reply_class_name(r.class));
    }
    CLASS(by("", "", "554 5.7.1 virus found: Eicar-Test-Signature"), "VirusRelated", "a virus");
    OK(by("", "", "554 virus").advice.hold_s < REPLY_FOREVER, "one word holds nothing for good");
    for (int c = 0; c < REPLY_CLASS_COUNT; c++) {
        char text[80];
        bool said = reply_law_is_said((uint8_t)c);
        str_fmt(text, sizeof text, "language zz\nclass %s\n  quokka\n",
                reply_class_name((uint8_t)c));
        buf_init(&errors, 4096);
        OK((reply_classes_compile(&none, str_c(text), &errors) == 0) == said, "%s %s be said",
           reply_class_name((uint8_t)c), said ? "can" : "cannot");
        reply_classes_free(none);
        none = NULL;
        buf_done(&errors);
    }
}

/* For ever needs the words, and the point or the code of addresses. */
static void
test_proof(void)
{
    static const struct {
        uint8_t phase;
        const char *text;
        uint32_t suppress_s;
    } rows[] = {
        {REPLY_PHASE_RCPT, "550 No such user", REPLY_FOREVER},
        {REPLY_PHASE_RCPT, "550 5.1.1 No such user", REPLY_FOREVER},
        {REPLY_PHASE_UNKNOWN, "550 5.1.1 No such user", REPLY_FOREVER},
        {REPLY_PHASE_RCPT, "550 5.1.1 no", 30 * 86400},
        {REPLY_PHASE_RCPT, "550 5.7.1 No such user", 30 * 86400},
        {REPLY_PHASE_UNKNOWN, "550 No such user", 14 * 86400},
        {REPLY_PHASE_RCPT, "450 4.1.1 No such user", 0},
        {REPLY_PHASE_RCPT, "550", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reply_class_result r = say(rows[i].phase, 0, "", rows[i].text);
        IS(r.advice.suppress_s, rows[i].suppress_s, "%s at %d: %s", rows[i].text, rows[i].phase,
           reply_class_name(r.class));
    }
}

static void
test_words(void)
{
    static const char *const same[] = {
        "550 5.1.1 <a@b.example>... User unknown",
        "550-5.1.1 user\n550 5.1.1 unknown",
        "smtp; 550 5.1.1 USER_UNKNOWN",
        "host mx.b.example[192.0.2.1] said: 550 5.1.1 <a@b.example>: User unknown (in reply to "
        "RCPT)",
        "550 #5.1.1 'User unknown'",
    };

    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        struct reply_class_result r = by("", "", same[i]);
        OK(r.class == REPLY_CLASS_MAILBOX && r.hard && r.code == 550, "spelling %zu", i);
    }
    CLASS(by("", "", "550 Benutzer ist unbekannt"), "InvalidRecipient", "German");
    CLASS(by("", "", "550 Empf\xe4nger unbekannt"), "InvalidRecipient", "Latin-1");
    CLASS(by("", "", "550 Empfänger unbekannt"), "InvalidRecipient", "UTF-8");
    CLASS(by("", "", "550 Empfaenger unbekannt"), "InvalidRecipient", "ASCII for an Umlaut");
    CLASS(by("", "", "552 Boîte aux lettres pleine"), "QuotaIssues", "French");
    CLASS(by("", "", "550 El buzón no existe"), "InvalidRecipient", "Spanish");
    CLASS(by("", "", "550 Usuário desconhecido"), "InvalidRecipient", "Portuguese");
    CLASS(by("", "", "552 Casella piena"), "QuotaIssues", "Italian");
    CLASS(by("", "", "550 Alamat tidak ditemukan"), "InvalidRecipient", "Indonesian");
    CLASS(by("", "", "552 Kotak surat penerima penuh"), "QuotaIssues", "Indonesian, full");
    CLASS(by("", "", "550 宛先アドレスが存在しません"), "InvalidRecipient", "Japanese");
    CLASS(by("", "", "550 邮箱不存在"), "InvalidRecipient", "Chinese");
    CLASS(by("", "", "554 疑似垃圾邮件"), "SpamContent", "Chinese, spam");
    CLASS(by("", "", "550 Пользователь не найден"), "InvalidRecipient", "Russian");
    CLASS(by("", "", "550 Your domain user-unknown.example is refused by policy"), "PolicyRelated",
          "words of a host's name are none");
}

static void
test_providers(void)
{
    struct reply_class_result r;

    CLASS(by("docomo", "", "550 5.1.1 user unknown"), "RecipientRefused", "by name");
    CLASS(by("", "mfsmax.docomo.ne.jp", "550 5.1.1 user unknown"), "RecipientRefused", "by host");
    CLASS(by("", "notdocomo.ne.jp.example", "550 5.1.1 user unknown"), "InvalidRecipient",
          "no other");
    CLASS(by("", "", "421-4.7.28 Gmail has detected an unusual rate of mail. gsmtp"), "RateLimited",
          "by its words");
    r = by("google", "",
           "450 4.2.1 The user you are trying to contact is receiving mail too quickly");
    OK(r.class == REPLY_CLASS_RATE && r.scope == REPLY_SCOPE_RECIPIENT &&
           r.advice.slow == REPLY_SCOPE_RECIPIENT,
       "one recipient is slowed, not the source");
    CLASS(by("microsoft", "",
             "550 5.7.515 Access denied, sending domain does not meet the required "
             "authentication level"),
          "AuthenticationFailed", "a bare code of a provider");
    CLASS(by("yahoo", "",
             "553 5.7.2 [TSS09] All messages from 192.0.2.1 will be permanently deferred"),
          "SpamBlock", "TSS09");
}

/* Whatever a rule says: what no data may change. */
static bool
rule_is_lawful(const struct reply_rule *rule, uint8_t severity)
{
    struct reply_class_result r = {.class = rule->class};
    const struct reply_advice *a = &r.advice;

    reply_law_advise(&r, rule->override, rule->tier, severity);
    if (reply_class_is_refusal(r.class) && (a->other_source || a->suppress || r.hard))
        return false;
    if (a->suppress && a->suppress_s == REPLY_FOREVER && !reply_class_is_hard(r.class) &&
        r.class != REPLY_CLASS_FEEDBACK)
        return false;
    if (a->suppress && (a->retry != REPLY_RETRY_NO || severity == 4))
        return false;
    return a->slow_percent <= 100 && r.scope < REPLY_SCOPE_COUNT;
}

static void
test_laws(void)
{
    unsigned bad = 0, refusals = 0;

    for (uint32_t i = 0; i < set->nrules; i++) {
        const struct reply_rule *rule = &set->rules[i];
        if (rule->class == REPLY_CLASS_COUNT)
            continue;
        refusals += reply_class_is_refusal(rule->class);
        for (uint8_t severity = 0; severity <= 5; severity++) {
            if (!rule_is_lawful(rule, severity) && bad++ < 5)
                printf("# %u: %.*s\n", severity, STR_ARG(rule->name));
        }
    }
    IS(bad, 0, "no pattern advises another source or suppression after a refusal of us");
    OK(refusals > 200, "%u patterns of refusals were looked at", refusals);
}

/* Each pattern of the data must be found again in its own words, where a provider must be known as
 * his, and decide, or lose to one that outweighs it. */
static void
test_each_pattern(void)
{
    unsigned lost = 0, looked = 0;

    for (uint32_t i = 1; i < set->nends; i += 7) {
        const struct reply_rule *rule = &set->rules[set->ends[i].rule];
        struct str words, tag = str_cut(set->ends[i].name, ':', &words);
        struct reply_text t;
        uint32_t found[96], n;
        bool there = false;
        if (memchr(words.p, '*', words.n) || memchr(words.p, '^', words.n) ||
            memchr(words.p, '$', words.n) || memchr(words.p, '%', words.n) ||
            memchr(words.p, '#', words.n) || memchr(words.p, '@', words.n) || tag.n == 0)
            continue;
        reply_text_read(&t, words, &set->names);
        n = reply_match(set, &t, found, ARRAY_LEN(found));
        for (uint32_t k = 0; k < n; k++)
            there = there || &set->rules[set->ends[found[k]].rule] == rule;
        if (!there && lost++ < 5)
            printf("# not found: %.*s\n", STR_ARG(set->ends[i].name));
        looked++;
    }
    IS(lost, 0, "patterns are found in their own words (%u looked at)", looked);
}

static void
test_bounds(void)
{
    static char text[100000];
    struct reply_class_result r;
    struct timespec from, to;
    size_t n = 0;
    double s;

    while (n + 64 < sizeof text)
        n +=
            str_fmt(text + n, sizeof text - n, "user mailbox is message the recipient quota over ");
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (int i = 0; i < 100; i++)
        r = by("", "", text);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    s = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    OK(r.class < REPLY_CLASS_COUNT && s < 2.0, "100 replies made to be slow took %.3f s", s);
    memset(text, 'a', sizeof text - 1);
    r = by("", "", text);
    OK(r.class == REPLY_CLASS_PERMANENT, "one word of 100 kB");
    memset(text, 0xe4, sizeof text - 1);
    r = by("", "", text);
    OK(r.class == REPLY_CLASS_PERMANENT, "bytes that are no UTF-8");
}

static void
test_form(void)
{
    struct reply_classes *mine = NULL;
    struct why why = {""};
    struct buf errors;
    struct reply_class_result r;
    struct reply_input in = {.text = STR("550 the quokka sleeps"), .phase = REPLY_PHASE_RCPT};

    IS(reply_classes_load(&mine,
                          STR("language zz\nclass InactiveMailbox strong suppress=2d\n  the quokka "
                              "(sleeps|rests)\n"),
                          &why),
       0, "a file of one's own: %s", why.text);
    reply_classify(mine, &in, &r);
    CLASS(r, "InactiveMailbox", "decides");
    TEXT(r.pattern, "zz: the quokka sleeps", "and is told");
    IS(r.advice.suppress_s, 2 * 86400, "with its own advice");
    in.text = STR("550 user unknown");
    reply_classify(mine, &in, &r);
    CLASS(r, "Uncategorized", "what is compiled in is not there");
    reply_classes_free(mine);
    IS(reply_classes_load(&mine, STR("default\nclass InactiveMailbox\n  the quokka sleeps\n"),
                          &why),
       0, "or beside the others");
    reply_classify(mine, &in, &r);
    CLASS(r, "InvalidRecipient", "which stay");
    reply_classes_free(mine);
    mine = NULL;
    buf_init(&errors, 65536);
    OK(reply_classes_compile(
           &mine,
           STR("class Nothing\n  a\nclass SpamBlock retry=maybe\n  (b\n[550] c\n"
               "class SpamBlock slow=moon:5%:1m\n  [600] d\n  <E>\n  f* *\n  x*\n"),
           &errors) < 0 &&
           !mine,
       "a bad file gives nothing");
    for (unsigned line = 1, want[] = {1, 3, 4, 5, 6, 7, 8, 9, 10}, i = 0; i < ARRAY_LEN(want);
         i++) {
        char text[16];
        line = want[i];
        size_t n = str_fmt(text, sizeof text, "line %u:", line);
        OK(str_find(buf_view(&errors), str_of(text, n)) >= 0, "but tells of line %u", line);
    }
    OK(reply_classes_load(&mine, STR("class Nothing\nclass None\n"), &why) < 0 &&
           strstr(why.text, "and 1 more"),
       "or of the first: %s", why.text);
    buf_done(&errors);
}

int
main(void)
{
    struct why why = {""};

    if (!OK(reply_classes_load(&set, STR_NONE, &why) == 0, "the set that is compiled in: %s",
            why.text))
        return tap_done();
    test_by_phase();
    test_contradictions();
    test_not_gone();
    test_not_said();
    test_proof();
    test_words();
    test_providers();
    test_laws();
    test_each_pattern();
    test_bounds();
    test_form();
    reply_classes_free(set);
    return tap_done();
}
