/*
 * tests/support/lib/cases_raw.c - raw messages through the engine, and fuzz seeds.
 */
#include "cases.h"
#include "smtp/client.h"
#include "smtp_twin.h"

static const char opening[] = "EHLO x.example\r\nMAIL FROM:<a@b.example> BODY=8BITMIME\r\n"
                              "RCPT TO:<c@d.example>\r\n";

/* Line ends as a mail client makes them of a file: each CRLF, CR or LF is one CRLF. */
static void
canonical(struct str file, struct buf *out)
{
    for (size_t i = 0; i < file.n; i++) {
        if (file.p[i] != '\r' && file.p[i] != '\n') {
            buf_char(out, file.p[i]);
            continue;
        }
        i += file.p[i] == '\r' && i + 1 < file.n && file.p[i + 1] == '\n';
        buf_c(out, "\r\n");
    }
    if (out->n && out->p[out->n - 1] != '\n')
        buf_c(out, "\r\n");
}

static void
dialogue_data(struct str content, struct buf *out)
{
    buf_c(out, opening);
    buf_c(out, "DATA\r\n");
    while (content.n) {
        struct str line = str_cut(content, '\n', &content);

        if (line.p[0] == '.')
            buf_char(out, '.');
        buf_str(out, line);
        buf_char(out, '\n');
    }
    buf_c(out, ".\r\n");
}

static void
dialogue_bdat(struct str content, struct buf *out)
{
    buf_c(out, opening);
    for (size_t at = 0; at < content.n; at += 1000) {
        struct str piece = str_sub(content, at, 1000);

        buf_fmt(out, "BDAT %zu\r\n", piece.n);
        buf_str(out, piece);
    }
    buf_c(out, "BDAT 0 LAST\r\n");
}

/* Exactly `content` must arrive. */
static bool
arrives(struct str content, struct str dialogue, size_t step, bool late)
{
    struct smtp_server_conf conf = twin_conf();
    struct twin t;
    bool good;

    conf.max_size = 64u << 20;
    conf.max_header = 0;
    twin_open(&t, &conf, late);
    twin_feed(&t, dialogue, step);
    good = t.nmessages == 1 && str_eq(buf_view(&t.messages[0]), content);
    twin_close(&t);
    return good;
}

void
cases_message(const char *path)
{
    static const size_t steps[] = {0, 1, 7, 4096};
    struct buf file, content, data, bdat;
    const char *wrong;
    bool good;

    good = cases_read(path, &file);
    buf_init(&content, 128u << 20);
    buf_init(&data, 256u << 20);
    buf_init(&bdat, 256u << 20);
    canonical(buf_view(&file), &content);
    dialogue_data(buf_view(&content), &data);
    dialogue_bdat(buf_view(&content), &bdat);
    for (size_t i = 0; i < 2 * ARRAY_LEN(steps) && good; i++)
        good = arrives(buf_view(&content), buf_view(&data), steps[i / 2], i & 1) &&
               arrives(buf_view(&content), buf_view(&bdat), steps[i / 2], i & 1);
    cases_ok(good, "message %s arrives byte for byte", path);
    wrong = cases_relay(buf_view(&content), false);
    wrong = wrong ? wrong : cases_relay(buf_view(&content), true);
    cases_ok(!wrong, "message %s leaves byte for byte", path);
    if (wrong)
        cases_note("%s", wrong);
    buf_done(&file);
    buf_done(&content);
    buf_done(&data);
    buf_done(&bdat);
}

static void
c_send(void *ctx, const char *p, size_t n)
{
    (void)ctx;
    (void)p;
    (void)n;
}

static size_t
c_backlog(void *ctx)
{
    (void)ctx;
    return 0;
}

static void
c_event(void *ctx)
{
    (void)ctx;
}

static void
c_stage(void *ctx, enum smtp_client_stage at, const struct smtp_reply *r)
{
    (void)ctx;
    (void)at;
    (void)r;
}

static void
c_rcpt(void *ctx, unsigned i, const struct smtp_reply *r)
{
    (void)ctx;
    (void)i;
    (void)r;
}

static const struct smtp_client_ops client_ops = {
    .send = c_send,
    .backlog = c_backlog,
    .starttls = c_event,
    .ready = c_event,
    .failed = c_stage,
    .rcpt = c_rcpt,
    .may_send = c_event,
    .rcpt_done = c_rcpt,
    .done = c_stage,
};

/* As replies of a server: the whole file, and the values of type-length-value inputs. */
static void
seed_client(struct str file)
{
    static const struct smtp_client_conf conf = {
        .ehlo = STR("x.example"), .tls = SMTP_TLS_NEVER, .max_reply = 8192};
    struct smtp_client *whole = smtp_client_create(&conf, &client_ops, NULL);
    struct smtp_client *parts = smtp_client_create(&conf, &client_ops, NULL);
    const unsigned char *p = (const unsigned char *)file.p;

    smtp_client_feed(whole, file.p, file.n);
    for (size_t at = 0; at + 6 <= file.n;) {
        size_t n =
            (size_t)p[at + 2] << 24 | (size_t)p[at + 3] << 16 | (size_t)p[at + 4] << 8 | p[at + 5];

        n = MIN(n, file.n - at - 6);
        smtp_client_feed(parts, file.p + at + 6, n);
        at += 6 + n;
    }
    smtp_client_free(whole);
    smtp_client_free(parts);
}

void
cases_seed(const char *path)
{
    static const size_t steps[] = {0, 1, 13};
    struct buf file, outcome = {0};
    bool good = cases_read(path, &file), same = true;

    buf_init(&outcome, 1 << 24);
    for (size_t i = 0; i < 2 * ARRAY_LEN(steps) && good; i++) {
        struct twin t;

        twin_open(&t, NULL, i & 1);
        twin_feed(&t, buf_view(&file), steps[i / 2]);
        if (i)
            same = same && str_eq(buf_view(&outcome), buf_view(&t.out));
        else
            buf_str(&outcome, buf_view(&t.out));
        twin_close(&t);
    }
    if (good)
        seed_client(buf_view(&file));
    /* Where the seed has STARTTLS, pieces decide what is plain text: only survival counts then. */
    same = same || str_find(buf_view(&outcome), STR("Ready to start TLS")) >= 0;
    cases_ok(good && same, "seed %s: %zu bytes survived, however they are cut", path, file.n);
    buf_done(&outcome);
    buf_done(&file);
}
