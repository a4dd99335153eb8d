/*
 * tests/unit/test_courier_reply_shape.c - replies that nobody knows, by shape, in a bounded table.
 */
#include "courier/reply_class_shape.h"

#include <stdlib.h>

#include "tap.h"

static void
test_shapes(void)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"Rejected <ann@example.com> at 192.0.2.7 (id 4XyZ81kq)",
         "rejected <address> at <ip> id <id>"},
        {"see https://help.example.org/e/17 now.", "see <url> now"},
        {"mx17.example.net says 42, then 2001:db8::1", "<host> says <n> then <ip>"},
        {"", ""},
        {"... ---", ""},
    };
    char shape[200], small[8];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t n = reply_shape_of(str_c(cases[i].text), shape, sizeof shape);
        TEXT(str_of(shape, n), cases[i].want, "%s", cases[i].text);
    }
    IS(reply_shape_of(STR("abcdefghijklmnop"), small, sizeof small), 7,
       "cut to what there is room for");
}

static void
test_table(void)
{
    struct reply_shapes *t = reply_shapes_create(4);
    struct reply_shape list[8], one;
    char text[100];
    unsigned often = 0;
    uint32_t n;

    for (unsigned i = 0; i < 1000; i++) {
        str_fmt(text, sizeof text, "odd refusal %u of <u%u@example.com>", i, i);
        reply_shapes_add(t, str_c(text), 554, STR("b.test"), 1, i, &one);
        often += one.often;
        if (i % 3 == 0)
            reply_shapes_add(t, STR("the quokka sleeps"), 550, STR_NONE, 1, i, NULL);
        str_fmt(text, sizeof text, "noise %c%c%c", (int)('a' + i % 26), (int)('a' + i / 26 % 26),
                (int)('a' + i % 7));
        reply_shapes_add(t, str_c(text), 550, STR("noise.test"), 1, i, NULL);
    }
    IS(reply_shapes_count(t), 4, "bounded");
    n = reply_shapes_list(t, list, ARRAY_LEN(list));
    IS(n, 4, "all are listed");
    TEXT(str_c(list[0].shape), "554 odd refusal <n> of <address>", "the most frequent first");
    IS(list[0].count - list[0].error, 1000, "with its count");
    OK(strstr(list[0].example, "u999@"), "and its last example: %s", list[0].example);
    OK(list[0].first == 0 && list[0].last == 999, "and when");
    TEXT(str_c(list[0].site), "b.test", "and where");
    IS(often, 3, "a word at 10, 100 and 1000");
    IS(reply_shapes_list(t, list, 1), 1, "or some");
    reply_shapes_free(t);
}

/* The rarest gives way, of equals the one that was not seen for longest; its count is known to be
 * another's. */
static void
test_gives_way(void)
{
    struct reply_shapes *t = reply_shapes_create(2);
    struct reply_shape one;

    reply_shapes_add(t, STR("quokka"), 550, STR("a.test"), 5, 1, NULL);
    reply_shapes_add(t, STR("numbat"), 550, STR("b.test"), 5, 2, NULL);
    reply_shapes_add(t, STR("bilby"), 550, STR("c.test"), 7, 3, &one);
    OK(one.count == 12 && one.error == 5 && one.first == 3 && !one.often, "it takes the place");
    reply_shapes_add(t, STR("bilby"), 550, STR("c.test"), 3, 4, &one);
    OK(one.often && one.count - one.error == 10, "ten of its own are worth a word");
    reply_shapes_add(t, STR("numbat"), 550, STR("b.test"), 1, 5, &one);
    OK(one.count == 6 && one.error == 0 && one.first == 2, "the one seen later has stayed");
    reply_shapes_free(t);
}

static void
test_unknown(void)
{
    struct reply_classes *set;
    struct reply_class_result r;
    struct reply_input in = {.text = STR("554 the quokka sleeps")};

    if (!OK(reply_classes_load(&set, STR_NONE, NULL) == 0, "patterns"))
        return;
    reply_classify(set, &in, &r);
    OK(reply_shape_is_unknown(&r), "nothing but its code decided");
    in.text = STR("550 5.1.1 user unknown");
    reply_classify(set, &in, &r);
    OK(!reply_shape_is_unknown(&r), "this one is known");
    reply_classes_free(set);
}

int
main(void)
{
    test_shapes();
    test_table();
    test_gives_way();
    test_unknown();
    return tap_done();
}
