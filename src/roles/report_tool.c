/*
 * roles/report_tool.c - `gapura report read FILE...`: a mail, an .xml, .json, .gz or .zip by hand.
 *
 * Called by main. The files are a stranger's: they are read into memory, then the sandbox of the
 * scan role closes, and only then are they looked into.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "ctl/print.h"
#include "ctl/words.h"
#include "mail/charset.h"
#include "roles/report_tool.h"
#include "roles/sandbox.h"
#include "store/report_line.h"

#define FILES_MAX 256
#define FILE_MAX  (256u << 20)
#define OUT_MAX   (1u << 30)

struct tool {
    const char *names[FILES_MAX];
    struct buf texts[FILES_MAX];
    int n;
    bool as_json;
    FILE *out; /* memory: the sandbox lets nothing ask what standard output is */
};

static int
read_file(const char *name, struct buf *ret)
{
    CLEANUP(fd_close) int own = -1;
    int fd = STDIN_FILENO;

    if (strcmp(name, "-"))
        fd = own = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (;;) {
        char *room = buf_room(ret, 65536);
        ssize_t n = room ? read(fd, room, 65536) : 0;

        if (!room)
            return ERR_LIMIT;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return 0;
        buf_used(ret, n > 0 ? (size_t)n : 0);
    }
}

static void
put(struct tool *t, json_t *row)
{
    char *text = row && t->as_json ? json_dumps(row, JSON_COMPACT) : NULL;

    if (text)
        fprintf(t->out, "%s\n", text);
    else if (row)
        print_record(t->out, row, 0);
    free(text);
    json_decref(row);
}

static int
put_records(struct tool *t, struct wire *w, const struct report_head *h)
{
    struct report_record r;
    struct report_policy_row p;
    struct report_failure_row f;
    int err = 0;

    for (uint32_t i = 0; err == 0 && i < h->records && h->kind == REPORT_KIND_DMARC; i++) {
        err = report_wire_record(w, &r);
        if (err == 0)
            put(t, report_line_record(&r));
    }
    for (uint32_t i = 0; err == 0 && i < h->records && h->kind == REPORT_KIND_TLS; i++) {
        err = report_wire_policy(w, &p);
        if (err == 0)
            put(t, report_line_policy(&p));
        for (uint32_t k = 0; err == 0 && k < p.failures; k++) {
            err = report_wire_failure(w, &f);
            if (err == 0)
                put(t, report_line_failure(&f));
        }
    }
    return err;
}

/* One mail that failed: nothing of it is counted, so it is told here alone. */
static void
put_failure(struct tool *t, const struct report_failure *f)
{
    json_t *row = json_object();

    if (!row)
        return;
    json_object_set_new(row, "kind", json_string("dmarc_failure"));
    report_line_set(row, "domain", f->reported_domain);
    report_line_set(row, "source", f->arf.source_text);
    report_line_set(row, "dkim_domain", f->dkim_domain);
    report_line_set(row, "message_id", f->message_id);
    report_line_set(row, "from", f->from);
    report_line_set(row, "subject", f->subject);
    put(t, row);
}

static int
read_report(struct tool *t, struct str text, struct why *why)
{
    struct report report = {.kind = REPORT_OTHER};
    struct report_facts none = {0};
    struct report_head head = {0};
    CLEANUP(buf_done) struct buf wire;
    struct arena arena;
    struct wire w;
    int r;

    arena_init(&arena, OUT_MAX);
    buf_init(&wire, REPORT_WIRE_MAX);
    r = report_read(text, &report_limits_default, &arena, &report, why);
    if (r == 0 && report.kind == REPORT_DMARC_FAILURE) {
        put_failure(t, report.failure);
    } else if (r == 0) {
        r = report_wire_put(&wire, &none, &report);
        if (r == 0)
            r = report_wire_open(&w, buf_view(&wire), &head);
        if (r == 0)
            put(t, report_line_head(&head, 0));
        if (r == 0)
            r = put_records(t, &w, &head);
    } else if (r == ERR_NOTFOUND && !why->text[0]) {
        r = why_set(why, ERR_NOTFOUND, "there is no report in it");
    }
    arena_done(&arena);
    return r;
}

/* Takes the names of files, of which there may be many, out of the words: the others and the first
 * of them are checked as those of all verbs. 0 or an exit status. */
static int
arguments(struct tool *t, int argc, char **argv)
{
    char *words[8] = {NULL};
    struct args a;
    int n = 0, status = 0;

    for (int i = 0; i < argc; i++) {
        bool file = i > 2 && (argv[i][0] != '-' || !argv[i][1]);
        if (file && t->n < FILES_MAX)
            t->names[t->n++] = argv[i];
        if ((!file || t->n == 1) && n < (int)ARRAY_LEN(words) - 1)
            words[n++] = argv[i];
        if (file && t->n == FILES_MAX) {
            fprintf(stderr, "gapura: at most %d files at a time\n", FILES_MAX);
            return 2;
        }
    }
    if (!words_take(n, words, &a, &status))
        return status ? status : -1;
    t->as_json = a.as_json;
    args_done(&a);
    for (int i = 0; i < t->n && status == 0; i++) {
        buf_init(&t->texts[i], FILE_MAX);
        int r = read_file(t->names[i], &t->texts[i]);
        if (r < 0) {
            fprintf(stderr, "gapura: %s: %s\n", t->names[i],
                    r == ERR_LIMIT ? "more than 256 MB" : err_text(r));
            status = 2;
        }
    }
    return status;
}

static bool
write_out(const char *p, size_t n, int fd)
{
    while (n) {
        ssize_t put_n = write(fd, p, n);

        if (put_n < 0 && errno == EINTR)
            continue;
        if (put_n <= 0)
            return false;
        p += put_n;
        n -= (size_t)put_n;
    }
    return true;
}

static int
run(struct tool *t)
{
    CLEANUP(buf_done) struct buf said;
    struct why why = {{0}};
    char *text = NULL;
    size_t n = 0;
    int status = 0;

    buf_init(&said, 1u << 20);
    t->out = open_memstream(&text, &n);
    charset_preload();
    json_object_seed(0); /* opens a file, as local time does */
    setenv("TZ", "UTC0", 1);
    tzset();
    if (!t->out || sandbox_enter("scan", NULL, 0, &why) < 0) {
        fprintf(stderr, "gapura: the sandbox cannot be closed: %s; nothing was read\n", why.text);
        return 2;
    }
    for (int i = 0; i < t->n; i++) {
        why = (struct why){{0}};
        int r = read_report(t, buf_view(&t->texts[i]), &why);
        if (r < 0) {
            buf_fmt(&said, "gapura: %s: %s\n", t->names[i], why.text[0] ? why.text : err_text(r));
            status = 1;
        }
    }
    fclose(t->out);
    if (!write_out(text, n, STDOUT_FILENO) || !write_out(said.p, said.n, STDERR_FILENO))
        status = 2;
    free(text);
    return status;
}

int
report_tool_main(int argc, char **argv)
{
    static struct tool t;
    int status = arguments(&t, argc, argv);

    if (status == 0)
        status = run(&t);
    for (int i = 0; i < t.n; i++)
        buf_done(&t.texts[i]);
    return MAX(status, 0); /* -1: help was shown */
}
