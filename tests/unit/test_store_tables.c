/* Recipient tables and aliases: what is taken, and what every error says. */
#include "store/tables.h"

#include "core/buf.h"
#include "tap.h"

static struct buf seen;
static int twice;

static bool
served(void *ctx, struct str domain)
{
    (void)ctx;
    return str_eq(domain, STR("example.org"));
}

static int
add(void *ctx, struct str key, struct str value)
{
    (void)ctx;
    buf_str(&seen, key);
    while (value.n) {
        buf_char(&seen, '>');
        buf_str(&seen, str_cut(value, '\0', &value));
    }
    buf_char(&seen, ';');
    return str_eq(key, STR("twice@example.com")) && twice++ ? ERR_EXISTS : 0;
}

static int
read_text(int (*fn)(struct str, const struct table_links *, struct why *), const char *text,
          struct why *why)
{
    struct table_links links = {
        .path = STR("t"), .domain = STR("example.com"), .served = served, .add = add};

    buf_clear(&seen);
    why->text[0] = '\0';
    return fn(str_c(text), &links, why);
}

static void
test_recipients(void)
{
    struct why why;

    IS(read_text(table_recipients, "alice\nBob@EXAMPLE.com OK\nc#d\nother@example.org\nlast", &why),
       0, "a table");
    TEXT(buf_view(&seen), "alice@example.com;bob@example.com;c#d@example.com;last@example.com;",
         "entries");
    IS(read_text(table_recipients, "a\nb\nx@elsewhere.net\n", &why), ERR_SYNTAX, "not ours");
    OK(!strncmp(why.text, "t:3: `x@elsewhere.net`", 21), "names file and line: %s", why.text);
    IS(read_text(table_recipients, "a b@@\n@\n", &why), ERR_SYNTAX, "no address");
    OK(!strncmp(why.text, "t:2: ", 5), "line 2: %s", why.text);
    IS(read_text(table_recipients, "", &why), 0, "empty is fine");
}

static void
test_aliases(void)
{
    static const char *const bad[] = {
        "x: |/bin/sh\n",
        "x: /dev/null\n",
        "x: :include:/etc/passwd\n",
        "x: \"|sh\"\n",
        "no colon\n",
        "  indent: x\n",
        "x:\n",
        "x@elsewhere.net: y\n",
        "@elsewhere.net: y\n",
        ": y\n",
        "x: a@@b\n",
    };
    struct why why;

    IS(read_text(table_aliases,
                 "postmaster: Alice, Bob@Example.net\n# c\ninfo:\n\tcarol,\n  dave # last\n"
                 "@example.com: all@elsewhere.net\nx@example.org: y\n\"a,b\"@example.com: e\n",
                 &why),
       0, "aliases: %s", why.text);
    TEXT(buf_view(&seen),
         "postmaster@example.com>alice@example.com>Bob@Example.net;"
         "info@example.com>carol@example.com>dave@example.com;"
         "@example.com>all@elsewhere.net;\"a,b\"@example.com>e@example.com;",
         "with their targets");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        IS(read_text(table_aliases, bad[i], &why), ERR_SYNTAX, "refused: %.20s", bad[i]);
        OK(!strncmp(why.text, "t:1: `", 6), "says where: %s", why.text);
    }
    IS(read_text(table_aliases, "twice: a\nb: c\ntwice: d\n", &why), ERR_EXISTS, "there twice");
    OK(strstr(why.text, "t:3: "), "line of the second: %s", why.text);
}

static void
test_hostile(void)
{
    static char text[70000];
    struct why why;
    uint32_t random = 7;

    for (int round = 0; round < 200; round++) {
        static const char letters[] = "ab@:,\"\\ \n#.|\t\xc3\xa9\0";

        for (size_t i = 0; i < 300; i++) {
            random = random * 1664525 + 1013904223;
            text[i] = letters[(random >> 16) % (sizeof(letters) - 1)];
        }
        buf_clear(&seen);
        (void)table_aliases(str_of(text, 300),
                            &(struct table_links){STR("t"), STR("example.com"), served, add, NULL},
                            &why);
        (void)table_recipients(
            str_of(text, 300),
            &(struct table_links){STR("t"), STR("example.com"), served, add, NULL}, &why);
    }
    memset(text, 'a', sizeof(text));
    IS(table_recipients(str_of(text, sizeof(text)),
                        &(struct table_links){STR("t"), STR("example.com"), served, add, NULL},
                        &why),
       ERR_SYNTAX, "a word of 70000 letters is refused");
}

int
main(void)
{
    buf_init(&seen, 1u << 20);
    test_recipients();
    test_aliases();
    test_hostile();
    buf_done(&seen);
    return tap_done();
}
