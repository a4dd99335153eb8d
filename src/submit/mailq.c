/*
 * submit/mailq.c - `mailq` and sendmail -bp: the queue in the form that scripts know.
 *
 * Called by roles/main.c and sendmail.c. Asks the courier as `gapura queue list` does, and needs
 * the same rights; never reads the spool.
 */
#include <sysexits.h>
#include <time.h>

#include "core/clock.h"
#include "core/str.h"
#include "ctl/client.h"
#include "ctl/ctl.h"
#include "ctl/print.h"
#include "submit/submit.h"

#define LINES_MAX 1000000
#define ANSWER_S  60u

struct mailq {
    char id[64];
    uint64_t messages, bytes;
};

static const char *
text_of(json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));

    return s ? s : "";
}

static void
head(struct mailq *q, json_t *row, bool held)
{
    int64_t age = (int64_t)json_integer_value(json_object_get(row, "age_s"));
    uint64_t size = (uint64_t)json_integer_value(json_object_get(row, "size"));
    time_t arrived = (time_t)((int64_t)clock_wall_s() - age);
    const char *sender = text_of(row, "sender");
    char when[40] = "";
    struct tm tm;

    if (!q->messages)
        printf(
            "-Queue ID-                   --Size-- ----Arrival Time---- -Sender/Recipient-----\n");
    q->messages++;
    q->bytes += size;
    if (localtime_r(&arrived, &tm))
        strftime(when, sizeof(when), "%a %b %d %H:%M:%S", &tm);
    printf("%s%-2s %8llu %-20s ", q->id, held ? "!" : "", (unsigned long long)size, when);
    print_safe(stdout, sender[0] ? sender : "MAILER-DAEMON");
    putchar('\n');
}

static bool
on_line(void *ctx, json_t *row)
{
    struct mailq *q = ctx;
    const char *id = text_of(row, "id"), *reason = text_of(row, "reason");

    if (strcmp(id, q->id) || !q->messages) {
        if (q->messages)
            putchar('\n');
        str_fmt(q->id, sizeof(q->id), "%s", id);
        head(q, row, !strcmp(text_of(row, "state"), "held"));
    }
    if (reason[0]) {
        printf("%26s(", "");
        print_safe(stdout, reason);
        printf(")\n");
    }
    printf("%59s", "");
    print_safe(stdout, text_of(row, "recipient"));
    putchar('\n');
    return !ferror(stdout);
}

int
submit_mailq(int argc UNUSED, char **argv UNUSED)
{
    const char *dir = getenv("GAPURA_RUN_DIR");
    struct mailq q = {.id = ""};
    struct client_reply reply = {.line = on_line, .ctx = &q};
    struct why why = {{0}};
    json_t *args = json_pack("{s:i}", "limit", LINES_MAX);
    int rc = client_call(dir && dir[0] ? dir : CTL_RUN_DIR, CTL_COURIER, "queue.list", args,
                         ANSWER_S, &reply, &why);

    json_decref(args);
    if (rc < 0) {
        fprintf(stderr, "mailq: %s\n", why.text);
        return rc == ERR_REFUSED ? EX_NOPERM : EX_UNAVAILABLE;
    }
    if (reply.end) {
        fprintf(stderr, "mailq: %s\n", reply.text);
        return EX_UNAVAILABLE;
    }
    if (q.messages)
        printf("-- %llu Kbytes in %llu Request%s.\n", (unsigned long long)(q.bytes >> 10),
               (unsigned long long)q.messages, q.messages == 1 ? "" : "s");
    else
        printf("Mail queue is empty\n");
    return EX_OK;
}
