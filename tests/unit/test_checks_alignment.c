/* tests/unit/test_checks_alignment.c - own domains in strangers' mail; `require` and whom it
 * spares. */
#include "checks_rig.h"

static const char zone[] = "far.test. IN TXT \"v=spf1 ip4:9.1.1.1 -all\"\n"
                           "_dmarc.far.test. IN TXT \"v=DMARC1; p=none\"\n"
                           "sub.far.test. IN TXT \"v=spf1 ip4:9.1.1.1 -all\"\n"
                           "plain.test. IN TXT \"v=spf1 ip4:9.1.1.1 -all\"\n"
                           "own.test. IN TXT \"v=spf1 ip4:9.2.2.2 ~all\"\n"
                           "sick.test. IN TIMEOUT\n"
                           "_dmarc.sicker.test. IN TIMEOUT\n"
                           "sicker.test. IN TXT \"v=spf1 ip4:9.1.1.1 -all\"\n";

static const struct check *const rows[] = {&check_spf, &check_dmarc, &check_own_domain_spoof,
                                           &check_alignment};

#define MAIL(from)   "From: " from "\r\nSubject: x\r\n\r\nHello\r\n"
#define REPORT(from) "From: " from "\r\nContent-Type: multipart/report; boundary=x\r\n\r\nHello\r\n"

static bool
serves(const void *served, struct str domain)
{
    (void)served;
    return str_eq(domain, STR("own.test"));
}

/* Runs with the facts set before; findings of alignment and own_domain_spoof only. */
static void
run(const char *client, const char *from, const char *text, const char *found)
{
    const char *all, *ours, *own;

    rig.facts.serves = serves;
    rig_mail(rows, ARRAY_LEN(rows), client, "[9.1.1.1]", from, text);
    all = rig_findings();
    ours = strstr(all, "alignment/");
    own = strstr(all, "own_domain_spoof/");
    if (own && (!ours || own < ours))
        ours = own;
    if (ours && ours > all && ours[-1] == '(')
        ours--;
    TEXT(str_c(ours ? ours : ""), found, "%s from %s, %.*s", from, client, (int)strcspn(text, "\r"),
         text);
}

static void
test_observe(void)
{
    rig_open("hostname = mx.gate.test\n");
    rig_zone(zone);
    rig.own_modes = true;
    run("9.1.1.1", "a@far.test", MAIL("a@far.test"), "");
    OK(!rig.decided, "nothing is refused");
    rig_done();
    run("9.1.1.2", "a@far.test", MAIL("a@far.test"), "(alignment/unproved=300:550 5.7.23)");
    OK(!rig.decided, "observe is the default: it only tells");
    rig_done();
    run("9.1.1.2", "x@far.test", MAIL("boss@own.test"),
        "(own_domain_spoof/author=500:550 5.7.23) (alignment/unproved=300:550 5.7.23)");
    OK(!rig.decided && rig.verdict.sum < 300, "observed findings neither act nor count");
    rig_done();
    rig_close();
    memset(&rig, 0, sizeof(rig));
}

static void
test_none(void)
{
    rig_open("hostname = mx.gate.test\nrequire = none\n");
    rig_zone(zone);
    rig.own_modes = true;
    run("9.1.1.2", "a@far.test", MAIL("a@far.test"), "");
    rig_done();
    rig_close();
    memset(&rig, 0, sizeof(rig));
}

static void
test_require(void)
{
    static const struct {
        const char *client, *from, *text, *found;
    } cases[] = {
        {"9.1.1.1", "a@far.test", MAIL("a@far.test"), ""},
        {"9.1.1.1", "a@sub.far.test", MAIL("a@far.test"), ""}, /* relaxed: one organization */
        {"9.1.1.1", "a@plain.test", MAIL("a@plain.test"), ""}, /* no policy is needed for it */
        {"9.1.1.1", "a@plain.test", MAIL("a@far.test"), "alignment/unproved=300:550 5.7.26"},
        {"9.1.1.2", "a@far.test", MAIL("a@far.test"), "alignment/unproved=300:550 5.7.23"},
        {"9.1.1.1", "a@far.test", MAIL("a@nothing.test"), "alignment/unproved=300:550 5.7.26"},
        {"9.1.1.1", "a@far.test", "Subject: x\r\n\r\n", "alignment/unproved=300:550 5.7.26"},
        {"9.1.1.1", "a@far.test", MAIL("a@far.test, b@plain.test"),
         "alignment/unproved=300:550 5.7.26"},
        /* DNS that does not answer is no reason to refuse */
        {"9.1.1.1", "a@sick.test", MAIL("a@sick.test"), "alignment/unsure=0:451 4.4.3"},
        {"9.1.1.1", "a@sicker.test", MAIL("a@sicker.test"), ""},
        {"9.1.1.1", "a@far.test", MAIL("a@sicker.test"), "alignment/unsure=0:451 4.4.3"},
        /* known */
        {"9.7.7.7", "x@nothing.test", MAIL("x@nothing.test"), "alignment/known=0"},
        {"9.1.1.2", "x@legacy.test", MAIL("x@legacy.test"), "alignment/unproved=300:550 5.7.26"},
        {"9.8.8.8", "x@legacy.test", MAIL("x@legacy.test"), "alignment/known=0"},
        {"9.8.8.8", "x@other.test", MAIL("x@other.test"), "alignment/unproved=300:550 5.7.26"},
        {"9.1.1.2", "x@any.test", MAIL("Ann <ANN@partner.test>"), "alignment/known=0"},
        {"9.1.1.2", "x@any.test", MAIL("bob@partner.test"), "alignment/unproved=300:550 5.7.26"},
        {"9.1.1.2", "x@any.test", MAIL("ann@partner.test, x@partner.test"),
         "alignment/unproved=300:550 5.7.26"},
        {"9.1.1.2", "x@any.test", MAIL("x@deep.group.test"), "alignment/known=0"},
        {"9.1.1.2", "x@any.test", MAIL("x@group.test"), "alignment/unproved=300:550 5.7.26"},
        {"9.1.1.2", "ann@partner.test", MAIL("x@any.test"), "alignment/unproved=300:550 5.7.26"},
        /* ours */
        {"9.2.2.2", "a@own.test", MAIL("a@own.test"), ""},
        {"9.1.1.2", "a@far.test", MAIL("a@own.test"), "own_domain_spoof/author=500:550 5.7.23"},
        {"9.1.1.1", "a@far.test", MAIL("a@own.test"), "own_domain_spoof/author=500:550 5.7.26"},
        {"9.1.1.1", "a@own.test", MAIL("a@plain.test"), "own_domain_spoof/sender=500:550 5.7.23"},
        {"9.7.7.7", "a@far.test", MAIL("a@own.test"), "alignment/known=0"},
    };

    rig_open("hostname = mx.gate.test\nrequire = authenticated\n"
             "known = 9.7.7.0/24, legacy.test 9.8.8.8, ann@partner.test, .group.test\n");
    rig_zone(zone);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        run(cases[i].client, cases[i].from, cases[i].text, cases[i].found);
        IS(rig.decided != NULL, strchr(cases[i].found, ':') != NULL, "refused or not");
        if (rig.decided && rig.decided->code == 550)
            OK(str_find(rig.decided->text, STR("postmaster@mx.gate.test")) > 0 &&
                   rig.decided->text.n < 900,
               "whom to ask: %.*s", STR_ARG(rig.decided->text));
        rig_done();
    }
}

/* A chain of nobody, whose key nobody answers for, makes it unsure what was proved: that does not
 * let anybody pass as one of ours. */
static void
test_spoof_unsure(void)
{
    static const char text[] =
        "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=sick.test; s=s; t=1790000000; b=AAAA\r\n"
        "ARC-Message-Signature: i=1; a=rsa-sha256; c=relaxed/relaxed; d=sick.test; s=s; h=from;"
        " bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n"
        "ARC-Authentication-Results: i=1; sick.test; dmarc=pass header.from=own.test\r\n"
        "From: boss@own.test\r\nSubject: x\r\n\r\n";
    static const struct check *const with_arc[] = {&check_spf, &check_arc, &check_dmarc,
                                                   &check_own_domain_spoof};

    rig_open("hostname = mx.gate.test\nverify {\n arc_trusted = friend.test\n}\n");
    rig_zone("far.test. IN TXT \"v=spf1 ip4:9.1.1.1 -all\"\ns._domainkey.sick.test. IN TIMEOUT\n");
    rig.facts.serves = serves;
    rig_mail(with_arc, ARRAY_LEN(with_arc), "9.1.1.1", "[9.1.1.1]", "a@far.test", text);
    OK(rig.decided && rig.decided->code == 451 && strstr(rig_findings(), "own_domain_spoof/unsure"),
       "put off: %s", rig_findings());
    rig_done();
    rig_close();
    memset(&rig, 0, sizeof(rig));
}

/* Who must be reachable, and reports, need no proof. */
static void
test_exempt(void)
{
    rig.facts.rcpts_office = true;
    run("9.1.1.2", "a@far.test", MAIL("a@far.test"), "alignment/office=0");
    rig_done();
    rig.facts.rcpts_reports = true;
    run("9.1.1.2", "a@far.test", REPORT("a@far.test"), "alignment/report=0");
    rig_done();
    rig.facts.rcpts_reports = true;
    run("9.1.1.2", "a@far.test", MAIL("a@far.test"), "alignment/unproved=300:550 5.7.23");
    rig_done();
    rig.facts.returns = STAGE_RETURNS_OURS;
    run("9.1.1.2", "", REPORT("mailer-daemon@far.test"), "alignment/return=0");
    rig_done();
    rig.facts.returns = STAGE_RETURNS_OURS;
    run("9.1.1.2", "", REPORT("mailer-daemon@own.test"), "own_domain_spoof/author=500:550 5.7.26");
    rig_done();
    rig.facts.returns = STAGE_RETURNS_UNKNOWN;
    run("9.1.1.2", "", REPORT("mailer-daemon@far.test"), "alignment/unsure=0:451 4.4.3");
    rig_done();
    rig.facts.returns = STAGE_RETURNS_UNKNOWN;
    run("9.1.1.2", "", MAIL("mailer-daemon@far.test"), "alignment/unproved=300:550 5.7.26");
    rig_done();
    rig.facts.returns = STAGE_RETURNS_OURS;
    run("9.1.1.2", "", MAIL("mailer-daemon@far.test"), "alignment/unproved=300:550 5.7.26");
    rig_done();
    run("9.1.1.2", "", REPORT("mailer-daemon@far.test"), "alignment/unproved=300:550 5.7.26");
    rig_done();
}

/* Memory ends somewhere on the way. Mail that is proved is not refused for good, whatever is
 * missing then; mail that is not does not get through. */
static void
test_no_room(void)
{
    struct dmarc_author author = {.n = 8, .ndomains = 1};
    struct dmarc_verdict verdict;
    struct auth_needs needs;
    struct arena arena;
    unsigned refused = 0, put_off = 0, passed = 0, forged = 0;

    for (rig.room = 256; rig.room < 24576; rig.room += 256) {
        rig_mail(rows, ARRAY_LEN(rows), "9.1.1.1", "[9.1.1.1]", "a@sub.far.test",
                 MAIL("a@far.test"));
        if (!rig.decided)
            passed++;
        else if (rig.decided->code / 100 == 5)
            refused++;
        else
            put_off++;
        rig_done();
        rig_mail(rows, ARRAY_LEN(rows), "9.1.1.1", "[9.1.1.1]", "a@far.test", MAIL("a@plain.test"));
        forged += !rig.decided;
        rig_done();
    }
    rig.room = 0;
    rig.full = true;
    run("9.1.1.2", "a@far.test", MAIL("a@far.test"), "alignment/unsure=0:451 4.4.3");
    rig_done();
    rig.full = false;
    IS(refused, 0, "never refused for good (%u passed, %u put off)", passed, put_off);
    IS(forged, 0, "what is not proved never passes");
    OK(passed && put_off, "with room it passes, without it is asked to come again");
    arena_init(&arena, 0);
    str_copy(STR("far.test"), author.domain, sizeof(author.domain));
    str_copy(STR("far.test"), author.domains[0].text, sizeof(author.domains[0].text));
    author.domains[0].n = 8;
    IS(dmarc_run(&(struct dmarc_input){.author = &author}, &(struct auth_answers){0}, &needs,
                 &arena, &verdict),
       AUTH_DONE, "DMARC without room");
    OK(verdict.result == DMARC_RESULT_TEMPERROR && verdict.unsure, "is unsure");
    arena_done(&arena);
}

int
main(void)
{
    test_observe();
    test_none();
    test_spoof_unsure();
    test_require();
    test_exempt();
    test_no_room();
    rig_close();
    return tap_done();
}
