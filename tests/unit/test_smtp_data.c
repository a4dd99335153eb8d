/*
 * tests/unit/test_smtp_data.c - content framing against a reference that is slow and plain, over
 * made-up content cut at every place; and the clean path over large pieces.
 */
#include "core/buf.h"
#include "smtp/data.h"
#include "tap.h"

struct got {
    struct buf body;
    unsigned calls;
};

static void
sink(void *ctx, const char *p, size_t n)
{
    struct got *g = ctx;

    g->calls++;
    buf_add(&g->body, p, n);
}

/*
 * The rules once more, a byte at a time: lines end in LF or in a run of CRs; CRLF of the run's last
 * CR and LF is a true end; only behind a true end (or at the start) a dot is stuffing, and dot CRLF
 * is the end. Returns bytes used; body, bare and ended out.
 */
static size_t
reference(struct str in, bool dots, struct buf *body, bool *bare, bool *ended)
{
    bool bol = true;
    size_t i = 0;

    *bare = *ended = false;
    while (i < in.n) {
        if (bol && dots && in.p[i] == '.') {
            if (str_starts(str_from(in, i), STR(".\r\n"))) {
                *ended = true;
                return i + 3;
            }
            i++;
            bol = false;
            continue;
        }
        if (in.p[i] == '\n') {
            *bare = true;
            bol = false;
            buf_c(body, "\r\n");
            i++;
        } else if (in.p[i] == '\r') {
            size_t run = i;

            while (run < in.n && in.p[run] == '\r')
                run++;
            if (run == in.n)
                return run; /* what follows decides */
            bol = in.p[run] == '\n';
            *bare = *bare || run - i > 1 || !bol;
            buf_c(body, "\r\n");
            i = run + bol;
        } else {
            bol = false;
            buf_char(body, in.p[i++]);
        }
    }
    return i;
}

static bool
agrees(struct str in, size_t cut, bool dots)
{
    struct got g = {0};
    struct smtp_framer f;
    struct buf want;
    bool bare, ended, good;
    size_t used, ref;

    buf_init(&g.body, 1 << 20);
    buf_init(&want, 1 << 20);
    ref = reference(in, dots, &want, &bare, &ended);
    smtp_framer_init(&f, dots, sink, &g);
    used = smtp_framer_feed(&f, in.p, MIN(cut, in.n));
    if (!f.ended && cut < in.n)
        used += smtp_framer_feed(&f, in.p + cut, in.n - cut);
    good = f.ended == ended && str_eq(buf_view(&g.body), buf_view(&want)) &&
           (!ended || used == ref) && (f.bare == bare || !ended);
    buf_done(&g.body);
    buf_done(&want);
    return good;
}

static uint32_t seed = 1;
static uint32_t
next_random(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

static void
test_against_reference(void)
{
    static const char alphabet[] = "\r\n.\r\n.\r\n\r\nxy\0";
    char text[200];
    unsigned bad = 0;

    for (unsigned round = 0; round < 60000; round++) {
        size_t n = next_random() % sizeof(text), rare = next_random() % 40;

        for (size_t i = 0; i < n; i++)
            text[i] = next_random() % (rare + 1) == 0
                          ? alphabet[next_random() % (sizeof(alphabet) - 1)]
                          : 'z';
        /* Mostly clean lines, so that the fast path is left in its middle. */
        for (size_t i = 20; round % 3 && i + 1 < n; i += 20 + next_random() % 30)
            memcpy(text + i, "\r\n", 2);
        bad += !agrees(str_of(text, n), next_random() % (n + 1), round & 1);
        bad += !agrees(str_of(text, n), n, round & 1);
    }
    IS(bad, 0, "framer and reference agree");
}

static void
test_every_short_text(void)
{
    static const char letters[] = "\r\n.x";
    unsigned bad = 0;

    for (unsigned code = 0; code < 1u << 16; code++) {
        char text[8];

        for (unsigned i = 0; i < 8; i++)
            text[i] = letters[code >> (2 * i) & 3];
        bad += !agrees(str_of(text, 8), code % 9, true);
    }
    IS(bad, 0, "all texts of 8 from CR LF dot x");
}

static void
test_clean_in_one_piece(void)
{
    struct got g = {0};
    struct smtp_framer f;
    struct buf in;

    buf_init(&in, 1 << 20);
    buf_init(&g.body, 1 << 20);
    for (int i = 0; i < 130; i++)
        buf_c(&in, "A line of text like most of them are, with a dot. And a bit more of it.\r\n");
    buf_c(&in, ".\r\nQUIT\r\n");
    smtp_framer_init(&f, true, sink, &g);
    IS(smtp_framer_feed(&f, in.p, in.n), in.n - 6, "ends behind the dot line");
    OK(f.ended && !f.bare, "clean");
    IS(g.calls, 1, "clean text goes out in one piece");
    IS(g.body.n, in.n - 9, "all of it");
    buf_done(&in);
    buf_done(&g.body);
}

static void
test_finish(void)
{
    static const struct {
        const char *in, *want;
        bool bare;
    } rows[] = {
        {"", "", false},          {"x", "x\r\n", false},        {"x\r\n", "x\r\n", false},
        {"x\r", "x\r\n", true},   {"x\n", "x\r\n", true},       {".\r\n.", ".\r\n.\r\n", false},
        {"\r\r\n", "\r\n", true}, {"x\ry", "x\r\ny\r\n", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct got g = {0};
        struct smtp_framer f;

        buf_init(&g.body, 100);
        smtp_framer_init(&f, false, sink, &g);
        smtp_framer_feed(&f, rows[i].in, strlen(rows[i].in));
        smtp_framer_finish(&f);
        TEXT(buf_view(&g.body), rows[i].want, "BDAT content %zu", i);
        IS(f.bare, rows[i].bare, "BDAT bare %zu", i);
        buf_done(&g.body);
    }
}

int
main(void)
{
    test_against_reference();
    test_every_short_text();
    test_clean_in_one_piece();
    test_finish();
    return tap_done();
}
