/*
 * roles/policy_senders.c - `gapura policy senders`: strangers that write as one of our domains, out
 * of a file of events, those first that do so most.
 *
 * Called by policy.c. Reads no settings and asks no role: what the check own_domain_spoof found
 * stands in the events, whether it acted or only observed.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl/args.h"
#include "ctl/print.h"
#include "roles/policy.h"

#define GROUPS_MAX 10000u /* of senders that are told apart; the rest is one number */
#define KEY_MAX    1500u

struct sender {
    json_t *row;
    uint64_t count;
};
struct senders {
    const char *domain; /* NULL: all of ours */
    json_t *groups;     /* key -> index + 1 */
    struct sender *items;
    size_t n, cap;
    uint64_t others, lines;
};

static const char *
text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* The finding of that check, or NULL. */
static const json_t *
spoof_of(const json_t *event)
{
    const json_t *findings = json_object_get(event, "findings"), *f;
    size_t i;

    json_array_foreach(findings, i, f)
    {
        if (!strcmp(text_of(f, "check"), "own_domain_spoof"))
            return f;
    }
    return NULL;
}

/* The client's name, or its address without the port. */
static void
client_of(const json_t *event, char *dst, size_t cap)
{
    const json_t *peer = json_object_get(event, "peer_address");
    struct str name = str_c(text_of(peer, "name")), addr = str_c(text_of(peer, "addr"));
    ssize_t colon = str_rchr(addr, ':');

    if (!name.n && colon > 0)
        addr.n = (size_t)colon;
    str_fmt(dst, cap, "%.*s", STR_ARG(name.n ? name : addr));
}

/* What a row is known by: who connects, in whose name, and what others vouch for. */
static json_t *
row_of(const json_t *event, const json_t *finding)
{
    const json_t *auth = json_object_get(event, "authentication");
    struct str from = str_c(text_of(event, "sender"));
    char client[300];

    client_of(event, client, sizeof(client));
    from = from.n ? str_from(from, (size_t)(str_rchr(from, '@') + 1)) : STR("<>");
    return json_pack("{s:s, s:s%, s:s, s:s, s:s}", "client", client, "mail_from", from.p, from.n,
                     "domain", text_of(finding, "input"), "dkim",
                     text_of(json_array_get(json_object_get(auth, "dkim"), 0), "domain"), "arc",
                     text_of(json_object_get(auth, "arc"), "result"));
}

static void
senders_new(struct senders *s, const char *key, json_t *row)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        struct sender *items = reallocarray(s->items, cap, sizeof(*items));
        if (!items) {
            s->others++;
            return;
        }
        s->items = items;
        s->cap = cap;
    }
    if (json_object_set_new(s->groups, key, json_integer((json_int_t)s->n + 1)) < 0) {
        s->others++;
        return;
    }
    s->items[s->n++] = (struct sender){.row = json_incref(row), .count = 1};
}

static void
senders_line(void *ctx, struct str line)
{
    struct senders *s = ctx;
    json_t *event = json_loadb(line.p, line.n, 0, NULL), *row = NULL;
    const json_t *finding = spoof_of(event);
    char key[KEY_MAX];
    json_int_t at;

    s->lines++;
    if (!finding || (s->domain && strcasecmp(text_of(finding, "input"), s->domain) != 0)) {
        json_decref(event);
        return;
    }
    row = row_of(event, finding);
    str_fmt(key, sizeof(key), "%s %s %s %s %s", text_of(row, "client"), text_of(row, "mail_from"),
            text_of(row, "domain"), text_of(row, "dkim"), text_of(row, "arc"));
    at = json_integer_value(json_object_get(s->groups, key));
    if (s->items && at > 0 && (size_t)at <= s->n)
        s->items[at - 1].count++;
    else if (!row || s->n == GROUPS_MAX)
        s->others++;
    else
        senders_new(s, key, row);
    json_decref(row);
    json_decref(event);
}

static int
by_count(const void *a, const void *b)
{
    const struct sender *x = a, *y = b;
    int names = strcmp(text_of(x->row, "client"), text_of(y->row, "client"));

    return x->count != y->count ? (x->count < y->count ? 1 : -1) : names;
}

static void
senders_show(struct senders *s, const struct ctl_verb *v, bool as_json)
{
    struct print_table table;

    if (s->n)
        qsort(s->items, s->n, sizeof(*s->items), by_count);
    print_table_init(&table, stdout, v);
    for (size_t i = 0; i < s->n; i++) {
        json_t *row = s->items[i].row;

        json_object_set_new(row, "mails", json_integer((json_int_t)s->items[i].count));
        if (as_json) {
            json_dumpf(row, stdout, JSON_COMPACT);
            putchar('\n');
        } else {
            print_table_row(&table, row);
        }
    }
    print_table_end(&table);
    if (as_json)
        return;
    if (s->others)
        printf("and %llu mails by others\n", (unsigned long long)s->others);
    if (!s->n)
        printf("no stranger wrote as one of ours in these %llu events\n",
               (unsigned long long)s->lines);
}

int
policy_senders(const struct ctl_verb *v, const struct args *a)
{
    const char *path = json_string_value(json_object_get(a->json, "file"));
    struct senders s = {.domain = json_string_value(json_object_get(a->json, "domain")),
                        .groups = json_object()};
    int status = policy_events(path, senders_line, &s);

    if (status == 0)
        senders_show(&s, v, a->as_json);
    for (size_t i = 0; i < s.n; i++)
        json_decref(s.items[i].row);
    free(s.items);
    json_decref(s.groups);
    return status;
}
