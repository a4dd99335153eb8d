/*
 * tests/unit/test_policy_record.c - decision records: bytes and back, as text, as JSON, ceilings,
 * and bytes that are no record.
 */
#include <jansson.h>

#include "core/err.h"
#include "core/wire.h"
#include "policy/record.h"
#include "policy_rig.h"

static struct arena arena, other;
static struct verdict verdict;
static struct buf bytes, text;

static const char profiles[] = "profile p {\n weight = alpha.one 4\n weight = beta.* 3\n"
                               " group = early -1 5 alpha.* beta.*\n group = kind -2 none gamma.*\n"
                               " tag = 2\n hold = 4\n tempfail = 6\n refuse = 8\n}\n"
                               "profile look {\n base = p\n observe = yes\n}\n";

static void
begin(void)
{
    arena_reset(&arena);
    arena_reset(&other);
    buf_clear(&bytes);
    buf_clear(&text);
    verdict_init(&verdict, &arena);
}

static struct judgement
judged(const char *profile, uint32_t rcpt)
{
    const struct verdict *const verdicts[] = {&verdict};
    struct judgement j = {0};

    verdict_judge(&j, &arena, profile_find(&rig_set, str_c(profile)), verdicts, 1, rcpt);
    return j;
}

static struct record
again(const struct record *r)
{
    struct record copy = {0};

    buf_clear(&bytes);
    record_encode(&bytes, r);
    IS(record_decode(&copy, &other, buf_view(&bytes)), 0, "%zu bytes are read back", bytes.n);
    return copy;
}

static void
test_text(void)
{
    static const uint8_t of[] = {0, 1, 1, 0, 0};
    struct judgement j[2];
    struct record r, back;

    begin();
    verdict_add(&verdict, &(struct finding){.check = "alpha",
                                            .name = "one",
                                            .input = STR("mx.example"),
                                            .rule = STR("10.0.0.0/8"),
                                            .list = STR("denied 7"),
                                            .stage = STAGE_HELO});
    verdict_add(&verdict, &(struct finding){.check = "beta",
                                            .name = "two",
                                            .input = STR("red \x1b[31m"),
                                            .observed = true,
                                            .action = VERDICT_REFUSE,
                                            .stage = STAGE_MAIL});
    j[0] = judged("p", 0);
    j[1] = judged("look", 0);
    record_make(&r, &arena, 42, j, 2, of, sizeof(of));
    back = again(&r);
    record_text(&text, &back, "\n  ");
    TEXT(buf_view(&text),
         "verdict for recipients 0, 3-4: hold at 4.00, profile p (tag from 2.00, hold from 4.00, "
         "tempfail from 6.00, refuse from 8.00)\n"
         "       4.00  alpha.one: mx.example, by 10.0.0.0/8 of denied 7\n"
         "     (3.00)  beta.two: red ?[31m; would refuse; observed\n"
         "    (-2.00)  cut off: ceiling of the group early; observed\n"
         "  with all that is only observed: refuse at 5.00, since beta.two says so\n"
         "  verdict for recipients 1-2: pass at 4.00, profile look (tag from 2.00, hold from 4.00, "
         "tempfail from 6.00, refuse from 8.00), only observed\n"
         "       4.00  alpha.one: mx.example, by 10.0.0.0/8 of denied 7\n"
         "     (3.00)  beta.two: red ?[31m; would refuse; observed\n"
         "    (-2.00)  cut off: ceiling of the group early; observed\n"
         "  with all that is only observed: refuse at 5.00, since beta.two says so",
         "a record for people");
    buf_clear(&text);
    record_json(&text, &back, &back.verdicts[0]);
    TEXT(buf_view(&text),
         "\"score\":400,\"verdict\":\"hold\",\"profile\":\"p\","
         "\"would\":{\"score\":500,\"verdict\":\"refuse\"},\"findings\":["
         "{\"stage\":\"helo\",\"check\":\"alpha\",\"name\":\"one\",\"input\":\"mx.example\","
         "\"rule\":\"10.0.0.0/8\",\"list\":\"denied 7\",\"group\":\"early\",\"weight\":400},"
         "{\"stage\":\"mail\",\"check\":\"beta\",\"name\":\"two\",\"input\":\"red \\u001b[31m\","
         "\"group\":\"early\",\"weight\":300,\"observed\":true,\"would\":\"refuse\"},"
         "{\"check\":\"policy\",\"name\":\"ceiling\",\"group\":\"early\",\"weight\":-200,"
         "\"observed\":true}]",
         "and for programs");
    IS(back.settings, 42, "the settings that decided");
}

/* Nothing that a terminal obeys, in any of its forms. */
static void
test_terminal(void)
{
    struct judgement j;
    struct record r;

    begin();
    verdict_add(&verdict, &(struct finding){.check = "alpha",
                                            .name = "one",
                                            .input = STR("\xc2\x9b"
                                                         "31m \x1b[2J \x9b"
                                                         "1m"),
                                            .rule = STR("a\xe2\x80\xae"
                                                        "b \xc3\xa4")});
    j = judged("none", 0);
    record_make(&r, &arena, 1, &j, 1, NULL, 0);
    record_text(&text, &r, "\n");
    OK(str_find(buf_view(&text), STR("alpha.one: ??31m ?[2J ?1m, by a???b \xc3\xa4")) > 0,
       "a stranger's text is only text: %.*s", STR_ARG(buf_view(&text)));
}

/* Lines of the JSON that count, and all of them. */
static void
json_sums(const struct record *r, const struct record_verdict *v, int64_t *acts, int64_t *all)
{
    struct buf whole;
    json_t *json, *line;
    size_t i;

    buf_init(&whole, 1u << 20);
    buf_char(&whole, '{');
    record_json(&whole, r, v);
    buf_char(&whole, '}');
    json = json_loadb(whole.p, whole.n, 0, NULL);
    *acts = *all = INT64_MIN;
    if (json) {
        *acts = *all = 0;
        json_array_foreach(json_object_get(json, "findings"), i, line)
        {
            int64_t weight = json_integer_value(json_object_get(line, "weight"));

            *all += weight;
            *acts += json_object_get(line, "observed") ? 0 : weight;
        }
        if (json_integer_value(json_object_get(json, "score")) != *acts)
            *acts = INT64_MIN;
    }
    json_decref(json);
    buf_done(&whole);
}

static bool
same(const struct record *a, const struct record *b)
{
    struct buf one, two;
    bool equal;

    buf_init(&one, 1u << 20);
    buf_init(&two, 1u << 20);
    record_text(&one, a, "\n");
    record_text(&two, b, "\n");
    equal = !one.failed && str_eq(buf_view(&one), buf_view(&two));
    buf_done(&one);
    buf_done(&two);
    return equal;
}

/* Whatever was found: a record is read back as it was, and its sums are those of its judgement. */
static void
test_property(void)
{
    static const char *const names[] = {"p", "look", "standard", "none"};
    unsigned wrong_bytes = 0, wrong_sum = 0, wrong_json = 0, wrong_text = 0, too_long = 0;

    for (unsigned round = 0; round < 1500; round++) {
        struct judgement j[3];
        struct record r, back = {0};
        unsigned n = 1 + rig_random(3);
        uint8_t of[50];
        uint32_t nof = rig_random(51);
        int64_t acts, all;

        begin();
        rig_findings(&verdict, rig_random(120), 3);
        for (unsigned i = 0; i < n; i++)
            j[i] = judged(names[rig_random(4)], i);
        for (uint32_t i = 0; i < nof; i++)
            of[i] = (uint8_t)rig_random(n);
        record_make(&r, &arena, round, j, n, of, nof);
        record_encode(&bytes, &r);
        too_long += bytes.n > RECORD_MAX;
        if (record_decode(&back, &other, buf_view(&bytes)) < 0 || back.nverdicts != n) {
            wrong_bytes++;
            continue;
        }
        wrong_text += !same(&r, &back);
        for (unsigned i = 0; i < n; i++) {
            const struct record_verdict *v = &back.verdicts[i];

            wrong_sum += v->total != j[i].total || v->would_total != j[i].would_total;
            wrong_sum += v->action != j[i].action || v->would != j[i].would;
            json_sums(&back, v, &acts, &all);
            wrong_json += acts != v->total || all != v->would_total;
        }
    }
    IS(wrong_bytes, 0, "records are read back");
    IS(wrong_text, 0, "and say the same");
    IS(wrong_sum, 0, "with the sums that were judged");
    IS(wrong_json, 0, "and JSON has the same sums");
    IS(too_long, 0, "in their room");
}

/* More than a record holds: lines are put together, and the sum stays. */
static void
test_ceilings(void)
{
    static char names[400][8], long_text[400];
    struct verdict more;
    struct judgement j[RECORD_VERDICTS_MAX + 2];
    const struct verdict *const both[] = {&verdict, &more};
    static uint8_t of[RECORD_RCPTS_MAX + 10];
    struct record r, back;

    begin();
    verdict_init(&more, &arena);
    memset(long_text, 'x', sizeof(long_text));
    for (unsigned i = 0; i < 400; i++) {
        str_fmt(names[i], sizeof(names[i]), "n%u", i);
        verdict_add(i & 1 ? &verdict : &more,
                    &(struct finding){.check = "a-check-with-a-long-name-that-nobody-would-give-it-"
                                               "but-which-might-come",
                                      .name = names[i],
                                      .group = names[i],
                                      .input = str_of(long_text, sizeof(long_text)),
                                      .rule = str_of(long_text, sizeof(long_text)),
                                      .list = str_of(long_text, sizeof(long_text)),
                                      .observed = i % 3 == 0,
                                      .rcpt = 1 + i / 32,
                                      .weight = 1});
    }
    for (unsigned i = 0; i < VERDICT_FINDINGS_MAX; i++) {
        verdict_add(&verdict, &(struct finding){.check = "c", .name = names[i], .weight = 5});
        verdict_add(&more, &(struct finding){.check = "c", .name = names[i], .weight = 7});
    }
    for (unsigned i = 0; i < ARRAY_LEN(j); i++)
        verdict_judge(&j[i], &arena, NULL, both, 2, i);
    record_make(&r, &arena, 1, j, ARRAY_LEN(j), of, sizeof(of));
    back = again(&r);
    OK(bytes.n <= RECORD_MAX, "the longest has %zu bytes", bytes.n);
    IS(back.nverdicts, RECORD_VERDICTS_MAX, "verdicts beyond are left out");
    IS(back.nof, RECORD_RCPTS_MAX, "and recipients");
    IS(back.nfindings, RECORD_FINDINGS_MAX, "and findings");
    OK(r.untold, "and that is said");
    buf_clear(&text);
    record_text(&text, &r, "\n");
    OK(str_ends(buf_view(&text), STR("\nmore recipients and verdicts than have room here")),
       "also to people");
    for (unsigned i = 0; i < back.nverdicts; i++)
        OK(back.verdicts[i].total == j[i].total && back.verdicts[i].would_total == j[i].would_total,
           "but none of the sum: %lld", (long long)j[i].total);
}

/* Three steps of a fail: one of them with control characters, one of another record. */
static void
with_spf(struct record *r)
{
    static const struct record_spf_step steps[] = {
        {STR("far.test"), STR("include:spf.\x1b[2J%{d}"), STR("spf.far.test"), RECORD_SPF_NO_MATCH,
         0, 2},
        {STR("spf.far.test"), STR("a:mx.test"), STR("mx.test"), RECORD_SPF_NO_MATCH, 1, 1},
        {STR("far.test"), STR("-all"), STR_NONE, RECORD_SPF_MATCH, 0, 0},
    };
    struct record_spf *spf = &r->spf[r->nspf++];
    size_t room = 0;

    *spf = (struct record_spf){
        .identity = RECORD_SPF_MAILFROM,
        .result = STR("fail"),
        .domain = STR("far.test"),
        .terms = 2,
        .voids = 1,
        .queries = 3,
        .steps = ARENA_ARRAY(&arena, struct record_spf_step, RECORD_SPF_STEPS_MAX)};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        record_spf_add(spf, &steps[i], &room);
}

static void
test_spf(void)
{
    struct record r = {.settings = 7}, back;
    static char longest[4000];
    size_t room = 0;
    struct buf json;

    begin();
    with_spf(&r);
    back = again(&r);
    record_text(&text, &back, "\n  ");
    TEXT(buf_view(&text),
         "nothing was found for or against it\n"
         "  SPF of mailfrom far.test: fail; used: 2 terms with look-ups, 1 without an answer, 3 "
         "look-ups\n"
         "    far.test: include:spf.?[2J%{d} [spf.far.test]: no match, 2 look-ups\n"
         "      spf.far.test: a:mx.test: no match, 1 look-up\n"
         "    far.test: -all: match",
         "SPF, term by term");
    buf_init(&json, 1u << 16);
    record_spf_json(&json, back.spf, back.nspf);
    TEXT(buf_view(&json),
         "[{\"identity\":\"mailfrom\",\"domain\":\"far.test\",\"result\":\"fail\",\"used\":{"
         "\"terms\":2,\"voids\":1,\"queries\":3},\"terms\":[{\"record\":\"far.test\",\"term\":"
         "\"include:spf.\\u001b[2J%{d}\",\"target\":\"spf.far.test\",\"outcome\":\"no match\","
         "\"lookups\":2,\"depth\":0},{\"record\":\"spf.far.test\",\"term\":\"a:mx.test\","
         "\"target\":\"mx.test\",\"outcome\":\"no match\",\"lookups\":1,\"depth\":1},{"
         "\"record\":\"far.test\",\"term\":\"-all\",\"outcome\":\"match\",\"lookups\":0,"
         "\"depth\":0}],\"terms_lost\":0}]",
         "and as JSON");
    buf_done(&json);
    IS(bytes.n < 150, true, "in few bytes");

    memset(longest, 'x', sizeof(longest));
    r.spf[0].nsteps = 0;
    for (unsigned i = 0; i < 300; i++)
        record_spf_add(&r.spf[0],
                       &(struct record_spf_step){.record = str_of(longest, sizeof(longest)),
                                                 .term = str_of(longest, sizeof(longest)),
                                                 .target = str_of(longest, sizeof(longest))},
                       &room);
    IS(r.spf[0].nsteps, 2, "terms have a ceiling of bytes");
    IS(r.spf[0].lost, 255, "what is beyond is counted, as far as it goes");
    OK(room <= RECORD_SPF_BYTES_MAX, "%zu bytes", room);
    back = again(&r);
    IS(back.spf[0].nsteps, 2, "read back");
}

static void
test_hostile(void)
{
    struct judgement j;
    struct record r, out = {.settings = 99};
    unsigned good = 0, bad = 0;

    begin();
    rig_findings(&verdict, 20, 0);
    j = judged("p", 0);
    record_make(&r, &arena, 1, &j, 1, NULL, 0);
    with_spf(&r);
    record_encode(&bytes, &r);
    for (size_t n = 0; n < bytes.n; n++)
        bad += record_decode(&out, &other, str_of(bytes.p, n)) < 0;
    IS(bad, bytes.n, "no part of a record is one");
    OK(out.settings == 99, "and nothing is given");
    buf_char(&bytes, 'x');
    IS(record_decode(&out, &other, buf_view(&bytes)), ERR_CORRUPT, "nor is one with more behind");
    bytes.n--;
    bytes.p[0] = 2;
    IS(record_decode(&out, &other, buf_view(&bytes)), ERR_VERSION, "a later version says so");
    bytes.p[0] = 1;
    for (unsigned round = 0; round < 20000; round++) {
        size_t at = rig_random((uint32_t)bytes.n);
        char was = bytes.p[at];

        bytes.p[at] = (char)rig_random(256);
        arena_reset(&other);
        if (record_decode(&out, &other, buf_view(&bytes)) == 0) {
            buf_clear(&text);
            record_text(&text, &out, "\n");
            for (unsigned i = 0; i < out.nverdicts; i++)
                record_json(&text, &out, &out.verdicts[i]);
            record_spf_json(&text, out.spf, out.nspf);
            good++;
        }
        bytes.p[at] = was;
    }
    OK(good > 0 && good < 20000, "changed bytes are a record or none: %u are", good);
}

int
main(void)
{
    arena_init(&arena, 16u << 20);
    arena_init(&other, 16u << 20);
    buf_init(&bytes, 1u << 20);
    buf_init(&text, 1u << 20);
    rig_profiles(profiles);
    test_text();
    test_terminal();
    test_property();
    test_ceilings();
    test_spf();
    test_hostile();
    rig_profiles_done();
    buf_done(&bytes);
    buf_done(&text);
    arena_done(&arena);
    arena_done(&other);
    return tap_done();
}
