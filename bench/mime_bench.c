/*
 * bench/mime_bench.c - the MIME parser and the readers of reports, on one core, beside GMime:
 * `make bench ONLY=mime`.
 *
 *     build/bench/mime_bench FOLDER [BOUNCES]
 *
 * Both parsers do the same work on each message of the folder: structure, text of every header
 * field, names of files, content decoded. CPU time of this process is measured, the best of several
 * rounds, so that neighbours on the machine count less. Prints "bar NAME measured X required Y
 * ok|short"; without GMime's headers at build time its row is left out.
 */
#include <dirent.h>
#include <stdlib.h>
#include <time.h>

#ifdef HAVE_GMIME
#include <gmime/gmime.h>
#undef MIN /* core/base.h has its own */
#undef MAX
#endif

#include "core/codec.h"
#include "mail/dsn.h"
#include "mail/header.h"
#include "mail/mime.h"
#include "mail/report.h"
#include "mail/report_dmarc.h"
#include "mail/word.h"

#define FILES_MAX 4096u
#define ROUNDS    7u
#define ROUND_S   0.7 /* at least, of CPU */
#define REQUIRED  400 /* MB/s */
#define ROWS      100u

struct work { /* what was seen: both sides must have seen the same */
    uint64_t messages, bytes, parts, fields, names, decoded, text;
};
static struct str files[FILES_MAX];
static unsigned nfiles;

static double
cpu(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- ours --------------------------------------------------------------------------------------
 */

static struct buf field_text;

static void
on_begin(void *ctx, const struct mime_part *p)
{
    struct work *w = ctx;
    struct header_field f;
    size_t at = 0;
    int got;

    w->parts++;
    w->names += p->filename.n > 0;
    while ((got = header_next(p->header, &at, &f)) != 0) {
        if (got < 0)
            continue;
        buf_clear(&field_text);
        word_decode(f.value, &field_text);
        w->fields++;
        w->text += field_text.n;
    }
}

static void
on_data(void *ctx, const struct mime_part *p, const char *data, size_t n)
{
    (void)data;
    if (p->kind == MIME_LEAF)
        ((struct work *)ctx)->decoded += n;
}

static void
ours(struct str message, struct work *w)
{
    static const struct mime_sink sink = {.begin = on_begin, .data = on_data};
    struct mime *m;

    if (mime_create(&m, &mime_limits_default, &sink, w) < 0)
        exit(1);
    mime_feed(m, message.p, message.n);
    mime_end(m);
    mime_free(m);
}

/* ---- GMime -------------------------------------------------------------------------------------
 */

#ifdef HAVE_GMIME
static void
gmime_headers(GMimeObject *o, struct work *w)
{
    GMimeHeaderList *list = g_mime_object_get_header_list(o);
    int n = g_mime_header_list_get_count(list);

    for (int i = 0; i < n; i++) {
        const char *text = g_mime_header_get_value(g_mime_header_list_get_header_at(list, i));
        w->fields++;
        w->text += text ? strlen(text) : 0;
    }
}

static void
gmime_part(GMimeObject *parent, GMimeObject *o, gpointer ctx)
{
    struct work *w = ctx;

    (void)parent;
    w->parts++;
    gmime_headers(o, w);
    if (!GMIME_IS_PART(o))
        return;
    const char *name = g_mime_part_get_filename((GMimePart *)o);
    GMimeDataWrapper *content = g_mime_part_get_content((GMimePart *)o);
    w->names += name && *name;
    if (content) {
        GMimeStream *null = g_mime_stream_null_new();
        g_mime_data_wrapper_write_to_stream(content, null);
        w->decoded += (uint64_t)g_mime_stream_tell(null);
        g_object_unref(null);
    }
}

static void
gmime(struct str message, struct work *w)
{
    GMimeStream *stream = g_mime_stream_mem_new_with_buffer(message.p, message.n);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    GMimeMessage *m = g_mime_parser_construct_message(parser, NULL);
    GMimeObject *top = m ? g_mime_message_get_mime_part(m) : NULL;

    if (top) {
        gmime_headers((GMimeObject *)m, w);
        if (GMIME_IS_MULTIPART(top)) {
            w->parts++;
            gmime_headers(top, w);
            g_mime_multipart_foreach((GMimeMultipart *)top, gmime_part, w);
        } else {
            gmime_part(NULL, top, w);
        }
    }
    if (m)
        g_object_unref(m);
    g_object_unref(parser);
    g_object_unref(stream);
}
#endif

/* ---- files -------------------------------------------------------------------------------------
 */

static struct str
slurp(const char *folder, const char *name)
{
    char path[1024];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        return STR_NONE;
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    rewind(f);
    char *text = malloc((size_t)n + 1);
    size_t got = text ? fread(text, 1, (size_t)n, f) : 0;
    fclose(f);
    return str_of(text, got);
}

static void
load(const char *folder)
{
    struct dirent **names;
    int n = scandir(folder, &names, NULL, alphasort);

    for (int i = 0; i < n && nfiles < FILES_MAX; i++) {
        if (names[i]->d_name[0] != '.')
            files[nfiles++] = slurp(folder, names[i]->d_name);
    }
}

/* ---- rounds ------------------------------------------------------------------------------------
 */

/* Seconds of CPU for the whole folder: the best round. */
static double
folder_seconds(void (*parse)(struct str, struct work *), struct work *ret)
{
    double best = 1e9;

    for (unsigned round = 0; round < ROUNDS; round++) {
        double began = cpu(), took;
        unsigned times = 0;
        do {
            *ret = (struct work){.messages = nfiles};
            for (unsigned i = 0; i < nfiles; i++) {
                parse(files[i], ret);
                ret->bytes += files[i].n;
            }
            times++;
            took = cpu() - began;
        } while (took < ROUND_S);
        best = MIN(best, took / times);
    }
    return best;
}

static void
row(const char *name, const struct work *w, double s)
{
    printf("%s: %.0f MB/s, %.0f messages/s; %llu messages, %llu parts, %llu fields (%llu bytes of "
           "text), %llu names, %llu bytes decoded\n",
           name, (double)w->bytes / 1e6 / s, (double)w->messages / s,
           (unsigned long long)w->messages, (unsigned long long)w->parts,
           (unsigned long long)w->fields, (unsigned long long)w->text, (unsigned long long)w->names,
           (unsigned long long)w->decoded);
    fflush(stdout);
}

/* ---- reports -----------------------------------------------------------------------------------
 */

/* A mail with an aggregate report of ROWS records, as providers send it. */
static void
report_make(struct buf *mail)
{
    static struct report_row rows[ROWS];
    static struct report_auth dkim, spf;
    struct report_dmarc d = {.org = STR("provider.example"),
                             .email = STR("dmarc@provider.example"),
                             .id = STR("1234567890"),
                             .begin = 1763856000,
                             .end = 1763942399,
                             .domain = STR("sender.example"),
                             .fo = STR("0"),
                             .rows = rows};
    struct buf xml, packed;

    dkim = (struct report_auth){NULL, STR("sender.example"), STR("s1"), STR(""), 1, 0};
    spf = (struct report_auth){NULL, STR("bounce.sender.example"), STR(""), STR(""), 1, 0};
    for (unsigned i = 0; i < ROWS; i++) {
        rows[i] = (struct report_row){.next = i + 1 < ROWS ? &rows[i + 1] : NULL,
                                      .count = 1 + i * i % 997,
                                      .dkim = REPORT_RESULT_PASS,
                                      .spf = i % 3 ? REPORT_RESULT_PASS : REPORT_RESULT_FAIL,
                                      .envelope_from = STR("bounce.sender.example"),
                                      .header_from = STR("sender.example"),
                                      .dkims = &dkim,
                                      .spfs = &spf};
        addr_parse(STR("192.0.2.1"), &rows[i].source);
        rows[i].source.b[15] = (uint8_t)i;
    }
    buf_init(&xml, 4u << 20);
    buf_init(&packed, 4u << 20);
    if (report_dmarc_write(&d, REPORT_FORM_7489, &xml) < 0 || !report_gzip(buf_view(&xml), &packed))
        exit(1);
    buf_c(mail, "From: dmarc@provider.example\r\nSubject: Report Domain: sender.example\r\n"
                "Content-Type: application/gzip; name=\"a!sender.example!1!2.xml.gz\"\r\n"
                "Content-Transfer-Encoding: base64\r\n\r\n");
    struct buf encoded;
    buf_init(&encoded, 4u << 20);
    codec_base64(&encoded, buf_view(&packed));
    for (size_t at = 0; at < encoded.n; at += 76) {
        buf_str(mail, str_sub(buf_view(&encoded), at, 76));
        buf_c(mail, "\r\n");
    }
    buf_done(&encoded);
    buf_done(&packed);
    buf_done(&xml);
}

static void
reports(void)
{
    struct buf mail;
    double best = 1e9;

    buf_init(&mail, 4u << 20);
    report_make(&mail);
    for (unsigned round = 0; round < ROUNDS; round++) {
        double began = cpu();
        for (unsigned i = 0; i < 200; i++) {
            struct arena arena;
            struct report r;
            arena_init(&arena, 64u << 20);
            if (report_read(buf_view(&mail), &report_limits_default, &arena, &r, NULL) < 0 ||
                r.dmarc->nrows != ROWS)
                exit(1);
            arena_done(&arena);
        }
        best = MIN(best, (cpu() - began) / 200);
    }
    printf("reports: %.0f messages/s, each a mail of %zu bytes with %u records in gzip\n", 1 / best,
           mail.n, ROWS);
    buf_done(&mail);
}

/* ---- bounces -----------------------------------------------------------------------------------
 */

static void
bounce(struct str message, struct work *w)
{
    struct dsn_reader *r;

    if (dsn_reader_create(&r, &dsn_limits_default) < 0)
        exit(1);
    dsn_reader_feed(r, message.p, message.n);
    w->parts += dsn_reader_end(r)->nrcpt;
    dsn_reader_free(r);
}

static void
bounces(const char *folder)
{
    struct work w;

    nfiles = 0;
    load(folder);
    if (!nfiles)
        return;
    double s = folder_seconds(bounce, &w);
    printf("bounces: %.0f messages/s, %.0f MB/s; %llu messages, %llu recipients\n",
           (double)w.messages / s, (double)w.bytes / 1e6 / s, (unsigned long long)w.messages,
           (unsigned long long)w.parts);
}

/* ---- main --------------------------------------------------------------------------------------
 */

int
main(int argc, char **argv)
{
    struct work w;

    if (argc > 1)
        load(argv[1]);
    if (!nfiles) {
        fprintf(stderr, "usage: mime_bench FOLDER [BOUNCES], of messages\n");
        return 2;
    }
    buf_init(&field_text, 1u << 20);
    double mine = folder_seconds(ours, &w);
    row("gapura", &w, mine);
    double rate = (double)w.bytes / 1e6 / mine;
#ifdef HAVE_GMIME
    struct work g;
    g_mime_init();
    double theirs = folder_seconds(gmime, &g);
    row("gmime", &g, theirs);
    printf("the same work in %.1f times the CPU%s\n", theirs / mine,
           g.decoded == w.decoded && g.parts == w.parts && g.fields == w.fields
               ? ""
               : " (but not all was seen alike: see the rows)");
    g_mime_shutdown();
#else
    printf("GMime was not there at build time (libgmime-3.0-dev): its row is left out\n");
#endif
    reports();
    if (argc > 2)
        bounces(argv[2]);
    printf("bar mime measured %.2f required %d %s\n", rate, REQUIRED,
           rate >= REQUIRED ? "ok" : "short");
    return rate >= REQUIRED ? 0 : 1;
}
