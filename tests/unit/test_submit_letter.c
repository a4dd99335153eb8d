/* Lists of addresses completed and taken apart, headers of sendmail, input read from a pipe; and
 * the same with every odd thing that programs write. */
#include "submit/letter.h"

#include <fcntl.h>
#include <unistd.h>

#include "submit/input.h"
#include "submit/mailboxes.h"
#include "tap.h"

static void
test_qualify(void)
{
    static const char *const rows[][2] = {
        {"root", "root@o.test"},
        {" root ", " root@o.test "},
        {"a@b.test", "a@b.test"},
        {"root (Cron, the <daemon>)", "root@o.test (Cron, the <daemon>)"},
        {"Bob <bob>", "Bob <bob@o.test>"},
        {"Bob <b@x.test>, ann", "Bob <b@x.test>, ann@o.test"},
        {"\"a, b\" <c>, \"d e\"", "\"a, b\" <c@o.test>, \"d e\"@o.test"},
        {"Group: a, B <b>;", "Group: a@o.test, B <b@o.test>;"},
        {"undisclosed-recipients:;", "undisclosed-recipients:;"},
        {"two words", "two words"},
        {"<>", "<>"},
        {"", ""},
        {"a\r\n b@x.test", "a\r\n b@x.test"},
        {"<@route.test:a@b.test>", "<@route.test:a@b.test>"},
        {"a@[192.0.2.1]", "a@[192.0.2.1]"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_done) struct buf out;

        buf_init(&out, 4096);
        mailboxes_qualify(&out, str_c(rows[i][0]), STR("o.test"));
        OK(str_eq(buf_view(&out), str_c(rows[i][1])), "row %zu", i);
    }
}

static void
test_hostile_lists(void)
{
    static const char letters[] = "a@<>(),;:\"\\[] \r\n.\t";
    uint64_t seed = 12345;

    for (int round = 0; round < 20000; round++) {
        struct rcpts r = {0};
        char text[40];
        size_t n = (size_t)(round % (int)sizeof(text));

        for (size_t i = 0; i < n; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            text[i] = letters[(seed >> 40) % (sizeof(letters) - 1)];
        }
        (void)rcpts_add(&r, str_of(text, n), STR("o.test"));
        for (size_t i = 0; i < r.n; i++)
            if (!strchr(r.items[i], '@') || strpbrk(r.items[i], "\r\n"))
                OK(false, "\"%.*s\" gave \"%s\"", (int)n, text, r.items[i]);
        rcpts_done(&r);
    }
    OK(true, "20000 lists of odd bytes");
}

static void
test_header(void)
{
    CLEANUP(buf_done) struct buf out;
    struct rcpts to = {0};
    struct why why = {{0}};
    const struct letter_conf conf = {.origin = STR("o.test"),
                                     .from = STR("me@o.test"),
                                     .name = "Me",
                                     .wall = UINT64_C(1795415064000000000),
                                     .gather = &to};

    buf_init(&out, 65536);
    IS(letter_header(&out, STR("To: a,\r\n b@x.test\r\nBCC: c@x.test\r\nReturn-Path: <x>\r\n"),
                     &conf, &why),
       0, "a header");
    IS(to.n, 3, "three recipients");
    buf_char(&out, 0);
    OK(strstr(out.p, "To: a@o.test,\r\n b@x.test\r\n") != NULL, "completed and still folded");
    OK(!strstr(out.p, "c@x.test") && !strstr(out.p, "Return-Path"), "no Bcc, no Return-Path");
    OK(strstr(out.p, "From: \"Me\" <me@o.test>\r\n") && strstr(out.p, "Date: ") &&
           strstr(out.p, "Message-ID: <"),
       "what was missing");
    rcpts_done(&to);
    buf_clear(&out);
    OK(letter_header(&out, STR("To: a b c <\r\n"), &conf, &why) < 0 && strstr(why.text, "To"),
       "a field that cannot be read: %s", why.text);
    rcpts_done(&to);
}

/* What input_read makes of these bytes: "header|body". */
static void
reads(int line, const char *p, size_t n, bool dots, const char *wanted)
{
    struct input in;
    struct why why = {{0}};
    char got[512];
    size_t at;
    int ends[2], rc;

    if (pipe2(ends, O_CLOEXEC) < 0 || write(ends[1], p, n) != (ssize_t)n) {
        OK(false, "a pipe");
        return;
    }
    close(ends[1]);
    rc = input_read(&in, ends[0], dots, &why);
    close(ends[0]);
    at = str_fmt(got, sizeof(got), "%.*s|", (int)in.header.n, in.header.n ? in.header.p : "");
    if (rc == 0)
        at += (size_t)MAX(pread(in.body, got + at, sizeof(got) - at - 1, 0), 0);
    got[at] = 0;
    OK(rc == 0 && !strcmp(got, wanted), "line %d of this file", line);
    if (strcmp(got, wanted))
        printf("# it was read as %s %s\n", got, why.text);
    input_done(&in);
}
#define READS(text, dots, wanted) reads(__LINE__, text, sizeof(text) - 1, dots, wanted)

static void
test_input(void)
{
    READS("A: b\n\nx\n", false, "A: b\r\n|x\r\n");
    READS("A: b\r\n\r\nx\r\n", false, "A: b\r\n|x\r\n");
    READS("A: b\n c\n\n", false, "A: b\r\n c\r\n|");
    READS("A: b", false, "A: b\r\n|");
    READS("x y z\n", false, "|x y z\r\n");
    READS("A: b\n\n.\nafter\n", false, "A: b\r\n|");
    READS("A: b\n\n.\nafter\n", true, "A: b\r\n|.\r\nafter\r\n");
    READS("A: b\n\nx\n.", false, "A: b\r\n|x\r\n");
    READS("A: b\n\nx\n.", true, "A: b\r\n|x\r\n.\r\n");
    READS("A: b\n\n.\r\nafter", false, "A: b\r\n|");
    READS("A: b\n\n.x\n..\n", false, "A: b\r\n|.x\r\n..\r\n");
    READS("A: b\rC: d\n\nx\ry\n", false, "A: b C: d\r\n|x\r\ny\r\n");
    READS("A: b\n\nx\r\r\ny\r", false, "A: b\r\n|x\r\ny\r\n");
    READS("A:\0 b\n\n\0x\n", false, "A: b\r\n|x\r\n");
    READS("From x y\nA: b\n\nx\n", false, "A: b\r\n|x\r\n");
    READS(".\n", false, "|");
    READS("", false, "|");
}

int
main(void)
{
    test_qualify();
    test_hostile_lists();
    test_header();
    test_input();
    return tap_done();
}
