/*
 * roles/policy.c - `gapura policy show`, `gapura policy test`; `gapura policy senders` from here.
 *
 * Called by main.c. Reads the settings as `gapura check` does, prints, changes nothing and asks no
 * role.
 */
#include "roles/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "checks/table.h"
#include "ctl/print.h"
#include "ctl/words.h"
#include "roles/settings.h"
#include "store/settings.h"

#define DEFAULT_FILE "/etc/gapura/gapura.conf"

struct policy_tool {
    struct conf_texts texts;
    struct conf *conf;
    struct profile_set set;
    bool as_json;
};

/* Settings with mistakes are shown as far as they go: `gapura check` names the mistakes. */
static int
tool_open(struct policy_tool *t, const struct args *a)
{
    const char *file = a->conf ? a->conf : DEFAULT_FILE;
    struct conf_errors errs = {0};
    int rc;

    t->as_json = a->as_json;
    if (a->conf || access(file, R_OK) == 0) {
        conf_load(&t->texts, file, &errs);
        if (t->texts.n)
            conf_draft(&t->conf, &t->texts, roles_blocks, roles_nblocks, 1, &errs);
        if (!t->conf) {
            fprintf(stderr, "gapura: %.*s\n",
                    STR_ARG(errs.n ? errs.items[0].text : STR("out of memory")));
            conf_errors_done(&errs);
            return 2;
        }
    } else {
        fprintf(stderr, "gapura: there is no %s: these are the shipped profiles\n", file);
    }
    rc = profile_set_build(&t->set, t->conf, checks_table, checks_count, &errs);
    if (errs.n)
        fprintf(stderr, "gapura: %s has %zu error%s; `gapura check -c %s` names them\n", file,
                errs.n, errs.n == 1 ? "" : "s", file);
    conf_errors_done(&errs);
    return rc < 0 ? 2 : 0;
}

static void
tool_close(struct policy_tool *t)
{
    profile_set_done(&t->set);
    conf_free(t->conf);
    conf_texts_done(&t->texts);
}

static struct str
main_profile(const struct policy_tool *t)
{
    const struct settings_main *m = t->conf ? conf_get(t->conf, "") : NULL;

    return m && m->profile.n ? m->profile : STR(PROFILE_DEFAULT_NAME);
}

/* The profile that was asked for, or that of the main block; NULL: told. */
static const struct profile *
tool_profile(const struct policy_tool *t, const char *name)
{
    struct str wanted = name ? str_c(name) : main_profile(t);
    const struct profile *p = profile_find(&t->set, wanted);

    if (!p) {
        fputs("gapura: there is no profile `", stderr);
        print_safe(stderr, name ? name : "");
        fputs("`; `gapura policy show` lists those that there are\n", stderr);
    }
    return p;
}

/* ---- show ---- */

static void
show_place(const struct profile_place *at)
{
    if (at->file.n)
        printf("   %.*s:%u", STR_ARG(at->file), at->line);
    putchar('\n');
}

static void
show_bound(int64_t bound, char dst[32])
{
    if (bound == CONF_POINTS_NONE || bound == -CONF_POINTS_NONE)
        str_fmt(dst, 32, "none");
    else
        verdict_points(bound, dst);
}

/* Who names it: the main block, domains, tenants. */
static void
show_users(const struct policy_tool *t, const struct profile *p)
{
    static const char *const blocks[] = {"domain", "tenant"};
    const char *before = "judges   ";

    if (str_eq(main_profile(t), p->name)) {
        printf("%sall mail for which no other is named", before);
        before = ", ";
    }
    for (size_t i = 0; t->conf && i < ARRAY_LEN(blocks); i++) {
        for (const struct conf_section *s = conf_first(t->conf, blocks[i]); s; s = conf_next(s)) {
            const struct settings_domain *d = s->data;
            const struct settings_tenant *tenant = s->data;

            if (!str_eq(i ? tenant->profile : d->profile, p->name))
                continue;
            printf("%s%s %.*s", before, blocks[i], STR_ARG(s->label));
            before = ", ";
        }
    }
    puts(before[0] == ',' ? "" : "judges   nothing: no block names it");
}

static void
show_groups(const struct profile *p)
{
    char least[32], most[32];

    for (size_t i = 0; i < p->ngroups; i++) {
        const struct profile_group *g = &p->groups[i];

        show_bound(g->least, least);
        show_bound(g->most, most);
        printf("group    %.*s from %s to %s:", STR_ARG(g->name), least, most);
        for (size_t k = 0; k < p->nmembers; k++) {
            if (p->members[k].group == i)
                printf(" %.*s", STR_ARG(p->members[k].pattern));
        }
        show_place(&g->at);
    }
}

static void
show_profile(const struct policy_tool *t, const struct profile *p)
{
    char points[32];

    printf("profile  %.*s", STR_ARG(p->name));
    if (p->bases.n)
        printf(", on %.*s", STR_ARG(p->bases));
    show_place(&p->at);
    show_users(t, p);
    if (p->observe) {
        printf("observes: nothing follows from its verdicts");
        show_place(&p->observe_at);
    }
    for (unsigned a = VERDICT_TAG; a < VERDICT_ACTIONS_; a++) {
        show_bound(p->thresholds[a], points);
        printf("%-8s from %8s", verdict_action_name((uint8_t)a), points);
        show_place(&p->thresholds_at[a]);
    }
    show_groups(p);
    for (size_t i = 0; i < p->nweights; i++) {
        printf("%9s  %-28.*s", verdict_points(p->weights[i].weight, points),
               STR_ARG(p->weights[i].pattern));
        show_place(&p->weights[i].at);
    }
    puts("All other findings weigh what docs/checks/ says.");
}

static json_t *
json_place(json_t *o, const struct profile_place *at)
{
    if (at->file.n) {
        json_object_set_new(o, "file", json_stringn(at->file.p, at->file.n));
        json_object_set_new(o, "line", json_integer(at->line));
    }
    return o;
}

static void
json_points(json_t *o, const char *key, int64_t points)
{
    json_object_set_new(o, key,
                        points == CONF_POINTS_NONE || points == -CONF_POINTS_NONE
                            ? json_null()
                            : json_integer(points));
}

/* Weights in hundredths, as in events. */
static void
show_json(const struct profile *p)
{
    json_t *o = json_object(), *list = json_array(), *one;
    char *text;

    json_object_set_new(o, "profile", json_stringn(p->name.p, p->name.n));
    json_object_set_new(o, "observe", json_boolean(p->observe));
    json_place(o, &p->at);
    for (unsigned a = VERDICT_TAG; a < VERDICT_ACTIONS_; a++)
        json_points(o, verdict_action_name((uint8_t)a), p->thresholds[a]);
    for (size_t i = 0; i < p->nweights; i++) {
        one = json_object();
        json_object_set_new(one, "finding",
                            json_stringn(p->weights[i].pattern.p, p->weights[i].pattern.n));
        json_object_set_new(one, "weight", json_integer(p->weights[i].weight));
        json_array_append_new(list, json_place(one, &p->weights[i].at));
    }
    json_object_set_new(o, "weights", list);
    list = json_array();
    for (size_t i = 0; i < p->ngroups; i++) {
        json_t *members = json_array();

        one = json_object();
        json_object_set_new(one, "group", json_stringn(p->groups[i].name.p, p->groups[i].name.n));
        json_points(one, "least", p->groups[i].least);
        json_points(one, "most", p->groups[i].most);
        for (size_t k = 0; k < p->nmembers; k++) {
            if (p->members[k].group == i)
                json_array_append_new(
                    members, json_stringn(p->members[k].pattern.p, p->members[k].pattern.n));
        }
        json_object_set_new(one, "findings", members);
        json_array_append_new(list, json_place(one, &p->groups[i].at));
    }
    json_object_set_new(o, "groups", list);
    text = json_dumps(o, JSON_COMPACT);
    puts(text ? text : "null");
    free(text);
    json_decref(o);
}

static int
policy_show(const struct policy_tool *t, const struct args *a)
{
    const char *name = json_string_value(json_object_get(a->json, "profile"));
    const struct profile *p = name ? tool_profile(t, name) : NULL;

    if (name && !p)
        return 1;
    for (size_t i = 0; i < t->set.n; i++) {
        const struct profile *one = t->set.items[i];

        if (p && one != p)
            continue;
        if (t->as_json)
            show_json(one);
        else
            show_profile(t, one);
        if (!t->as_json && !p && i + 1 < t->set.n)
            putchar('\n');
    }
    return 0;
}

/* ---- test ---- */

static void
tell_change(void *ctx, struct str id, uint8_t was, int64_t was_score, const struct judgement *now)
{
    const struct policy_tool *t = ctx;
    char before[32], after[32], name[64];

    str_fmt(name, sizeof(name), "%.*s", STR_ARG(id));
    if (t->as_json)
        printf("{\"id\":\"");
    print_safe(stdout, name);
    if (t->as_json)
        printf("\",\"was\":\"%s\",\"was_score\":%lld,\"would\":\"%s\",\"would_score\":%lld}\n",
               verdict_action_name(was), (long long)was_score, verdict_action_name(now->action),
               (long long)now->total);
    else
        printf("  %s at %s -> %s at %s\n", verdict_action_name(was),
               verdict_points(was_score, before), verdict_action_name(now->action),
               verdict_points(now->total, after));
}

static void
tell_counts(const struct policy_tool *t, const struct profile *p, const struct policy_counts *c)
{
    if (t->as_json)
        return;
    printf("%llu judged messages and refusals; profile %.*s would change %llu\n",
           (unsigned long long)c->events, STR_ARG(p->name), (unsigned long long)c->changed);
    for (unsigned a = 0; a < VERDICT_ACTIONS_; a++)
        printf("%9s %10llu -> %llu\n", verdict_action_name((uint8_t)a),
               (unsigned long long)c->was[a], (unsigned long long)c->would[a]);
    if (c->others)
        printf("%llu other lines\n", (unsigned long long)c->others);
}

int
policy_events(const char *path, void (*line)(void *ctx, struct str line), void *ctx)
{
    FILE *in = !strcmp(path, "-") ? stdin : fopen(path, "re");
    char *text = NULL;
    size_t cap = 0;
    ssize_t n;
    int err = in ? 0 : -errno;

    while (in && (n = getline(&text, &cap, in)) > 0)
        line(ctx, str_of(text, (size_t)n));
    if (in && ferror(in))
        err = -errno;
    free(text);
    if (in && in != stdin)
        (void)fclose(in);
    if (err == 0)
        return 0;
    fputs("gapura: ", stderr);
    print_safe(stderr, path);
    fprintf(stderr, " cannot be read: %s\n", err_text(err));
    return 2;
}

struct policy_test { /* what its lines are judged by, and what came of it */
    struct policy_tool *tool;
    const struct profile *profile;
    struct policy_counts counts;
};

static void
test_line(void *ctx, struct str line)
{
    struct policy_test *test = ctx;

    policy_replay(test->profile, line, &test->counts, tell_change, test->tool);
}

static int
policy_test(struct policy_tool *t, const struct args *a)
{
    const char *name = json_string_value(json_object_get(a->json, "profile"));
    struct policy_test test = {.tool = t, .profile = tool_profile(t, name)};
    int status;

    if (!test.profile)
        return 1;
    status = policy_events(json_string_value(json_object_get(a->json, "file")), test_line, &test);
    if (status == 0)
        tell_counts(t, test.profile, &test.counts);
    return status;
}

int
policy_main(int argc, char **argv)
{
    static struct policy_tool tool;
    const struct ctl_verb *v;
    struct args a;
    int status;

    v = words_take(argc, argv, &a, &status);
    if (!v)
        return status;
    if (!strcmp(v->words, "policy senders")) {
        status = policy_senders(v, &a);
        args_done(&a);
        return status;
    }
    status = tool_open(&tool, &a);
    if (status == 0)
        status = !strcmp(v->words, "policy show") ? policy_show(&tool, &a) : policy_test(&tool, &a);
    tool_close(&tool);
    args_done(&a);
    return status;
}
