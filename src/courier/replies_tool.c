/*
 * courier/replies_tool.c - `gapura replies classify TEXT...` and `gapura replies list [WORD]`.
 *
 * Called by roles/main.c. Speaks to no role; reads the files that were named, and no settings: with
 * --patterns it tries a file before it is put into use. Text that came from strangers goes to a
 * terminal through print_safe() alone.
 */
#include "courier/replies_tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "courier/reply_class_inner.h"
#include "ctl/ctl.h"
#include "ctl/print.h"
#include "ctl/words.h"

#define FILE_MAX   (4u << 20)
#define LINE_MAX_  4096u
#define WORDS_KEPT 256

struct tool {
    struct args args;
    struct reply_classes *set;
    char *joined[WORDS_KEPT];
    char text[LINE_MAX_];
};

static int
fail(const char *text)
{
    fputs("gapura: ", stderr);
    print_safe(stderr, text);
    fputc('\n', stderr);
    return 2;
}

static const char *
option(const struct tool *t, const char *name)
{
    return json_string_value(json_object_get(t->args.json, name));
}

static int
read_file(const char *path, struct buf *ret, struct why *why)
{
    FILE *f = fopen(path, "re");
    size_t n = 1;

    buf_init(ret, FILE_MAX);
    if (!f)
        return why_set(why, -errno, "cannot read %.160s: %s", path, strerror(errno));
    for (char *room; n > 0 && (room = buf_room(ret, 65536)) != NULL; buf_used(ret, n))
        n = fread(room, 1, 65536, f);
    n = (size_t)ferror(f);
    fclose(f);
    if (n || ret->failed)
        return why_set(why, ERR_LIMIT, "cannot read all of %.160s", path);
    return 0;
}

/* Each error is shown; 0, or the exit status. */
static int
open_set(struct tool *t)
{
    CLEANUP(buf_done) struct buf data = {0}, errors = {0};
    const char *path = option(t, "patterns");
    struct why why = {{0}};

    if (path && read_file(path, &data, &why) < 0)
        return fail(why.text);
    buf_init(&errors, 64 << 10);
    if (reply_classes_compile(&t->set, buf_view(&data), &errors) == 0)
        return 0;
    for (struct str rest = buf_view(&errors); rest.n > 0;) {
        struct str line = str_cut(rest, '\n', &rest);
        fprintf(stderr, "%s: ", path ? path : "patterns");
        str_copy(line, t->text, sizeof t->text);
        print_safe(stderr, t->text);
        fputc('\n', stderr);
    }
    return 2;
}

/* TEXT... may be one word or many: the verb's argument is one. */
static int
join_words(struct tool *t, const struct ctl_verb *v, int argc, char **argv, char **joined)
{
    size_t n = 0;
    int kept = 0;

    for (int i = 0; i < argc && kept < WORDS_KEPT / 2 - 2; i++) {
        const struct ctl_option *o;
        size_t len = strlen(argv[i]);
        if (len > 1 && argv[i][0] == '-') {
            o = len > 2 ? ctl_option_find(v, str_c(argv[i] + 2)) : NULL;
            joined[kept++] = argv[i];
            if (o && o->type != CTL_FLAG && i + 1 < argc)
                joined[kept++] = argv[++i];
            continue;
        }
        if (n + len + 2 > sizeof t->text)
            break;
        if (n > 0)
            t->text[n++] = ' ';
        memcpy(t->text + n, argv[i], len);
        n += len;
        t->text[n] = '\0';
    }
    if (n > 0)
        joined[kept++] = t->text;
    return kept;
}

/* ---- classify ---- */

static void
show_part(const char *name, const char *text)
{
    printf("  %-12s", name);
    print_safe(stdout, text);
    putchar('\n');
}

static void
show_span(const char *name, uint8_t scope, const char *more, uint32_t seconds)
{
    char text[120], span[32];

    if (scope == REPLY_SCOPE_NONE)
        return;
    if (seconds == REPLY_FOREVER)
        str_fmt(text, sizeof text, "%s%s until somebody lifts it", reply_scope_name(scope), more);
    else
        str_fmt(text, sizeof text, "%s%s for %s", reply_scope_name(scope), more,
                str_show_duration(seconds * UINT64_C(1000000000), span));
    show_part(name, text);
}

static void
show_text(const struct reply_class_result *r)
{
    const struct reply_advice *a = &r->advice;
    char text[300], span[32];

    printf("%s, %s, confidence %u\n", reply_class_name(r->class), r->hard ? "hard" : "soft",
           r->confidence);
    show_part("scope", reply_scope_name(r->scope));
    str_fmt(text, sizeof text, "%s%s%s", reply_retry_name(a->retry), a->retry_s ? ", after " : "",
            a->retry_s ? str_show_duration(a->retry_s * UINT64_C(1000000000), span) : "");
    show_part("retry", text);
    str_fmt(text, sizeof text, " to %u %%", a->slow_percent);
    show_span("slow", a->slow, text, a->slow_s);
    show_span("hold", a->hold, "", a->hold_s);
    show_span("suppress", a->suppress, "", a->suppress_s);
    if (a->tell)
        show_part("people", "must act: no retry mends it");
    str_fmt(text, sizeof text, "%.*s", STR_ARG(r->pattern));
    show_part("pattern", text);
}

static void
show_json(const struct reply_class_result *r)
{
    const struct reply_advice *a = &r->advice;
    json_t *j = json_pack(
        "{ss sb ss si si s{ss si ss si si ss si ss si sb sb} ss%}", "class",
        reply_class_name(r->class), "hard", r->hard, "scope", reply_scope_name(r->scope),
        "confidence", (int)r->confidence, "code", (int)r->code, "advice", "retry",
        reply_retry_name(a->retry), "retry_s", (int)a->retry_s, "slow", reply_scope_name(a->slow),
        "slow_percent", (int)a->slow_percent, "slow_s", (int)a->slow_s, "hold",
        reply_scope_name(a->hold), "hold_s", a->hold_s == REPLY_FOREVER ? -1 : (int)a->hold_s,
        "suppress", reply_scope_name(a->suppress), "suppress_s",
        a->suppress_s == REPLY_FOREVER ? -1 : (int)a->suppress_s, "tell", a->tell, "other_source",
        a->other_source, "pattern", r->pattern.p, r->pattern.n);
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

    puts(text ? text : "{}");
    free(text);
    json_decref(j);
}

static int
phase_of(const char *name, uint8_t *ret)
{
    static const char *const names[] = {"unknown", "connect", "mail", "rcpt", "data", "dot"};

    if (!name)
        name = "rcpt"; /* what most replies that people ask about are an answer to */
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        *ret = (uint8_t)i;
        if (!strcmp(name, names[i]))
            return 0;
    }
    return ERR_SYNTAX;
}

static bool
provider_known(const struct reply_classes *set, struct str name)
{
    for (uint32_t i = 1; i < set->nproviders; i++)
        if (str_ieq(set->providers[i].name, name))
            return true;
    return false;
}

static int
one_reply(const struct tool *t, struct str text)
{
    struct reply_input in = {
        .text = text, .provider = str_c(option(t, "provider")), .host = str_c(option(t, "host"))};
    struct reply_class_result r;

    if (in.provider.n && !provider_known(t->set, in.provider))
        return fail(
            "--provider: the patterns name no such provider; `gapura replies list` shows all, as "
            "in `google: ...`");
    if (phase_of(option(t, "phase"), &in.phase) < 0)
        return fail("--phase is one of connect, mail, rcpt, data, dot and unknown");
    reply_classify(t->set, &in, &r);
    if (t->args.as_json)
        show_json(&r);
    else
        show_text(&r);
    return 0;
}

/* One reply a line; a line that is too long is cut as any reply is. */
static int
each_line(struct tool *t)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int status = 0;

    if (isatty(STDIN_FILENO))
        fputs("gapura: type or paste replies, one a line; Ctrl-D ends this\n", stderr);
    while (status == 0 && (n = getline(&line, &cap, stdin)) >= 0) {
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            n--;
        if (n > 0)
            status = one_reply(t, str_of(line, (size_t)n));
    }
    free(line);
    return status;
}

static int
classify(struct tool *t)
{
    const char *text = option(t, "text");

    if (!text || !strcmp(text, "-"))
        return each_line(t);
    return one_reply(t, str_c(text));
}

/* ---- list ---- */

static void
list_row(const struct tool *t, const struct reply_rule *r)
{
    struct reply_class_result said = {.class = r->class};
    char text[600];

    reply_law_advise(&said, r->override, r->tier, r->code_from / 100);
    str_fmt(text, sizeof text, "%.*s", STR_ARG(r->name));
    if (t->args.as_json) {
        json_t *j =
            json_pack("{ss sb ss ss ss si}", "class", reply_class_name(r->class), "hard", said.hard,
                      "scope", reply_scope_name(said.scope), "retry",
                      reply_retry_name(said.advice.retry), "pattern", text, "line", (int)r->line);
        char *line = j ? json_dumps(j, JSON_COMPACT) : NULL;
        puts(line ? line : "{}");
        free(line);
        json_decref(j);
        return;
    }
    printf("%-21s %-9s %-13s ", reply_class_name(r->class), reply_scope_name(said.scope),
           reply_retry_name(said.advice.retry));
    print_safe(stdout, text);
    putchar('\n');
}

static int
list(const struct tool *t)
{
    const char *word = option(t, "word");
    size_t shown = 0;

    for (uint32_t i = 1; i < t->set->nrules; i++) {
        const struct reply_rule *r = &t->set->rules[i];
        if (r->class == REPLY_CLASS_COUNT)
            continue;
        if (!word || str_ieq(str_c(word), str_c(reply_class_name(r->class))) ||
            str_find(r->name, str_c(word)) >= 0) {
            list_row(t, r);
            shown++;
        }
    }
    if (!shown)
        fputs("gapura: no pattern and no class is like that; without a word all are listed\n",
              stderr);
    return 0;
}

int
replies_main(int argc, char **argv)
{
    static struct tool tool;
    const struct ctl_verb *v;
    int used = 0, status, n;

    v = words_find(argc, argv, &used);
    if (v && !(v->flags & CTL_LOCAL)) /* replies unknown: the courier answers */
        return ctl_main(argc, argv);
    n = 1 + used;
    if (v && n < WORDS_KEPT / 2) { /* the verb's words, then ours */
        memcpy(tool.joined, argv, (size_t)n * sizeof(*argv));
        argc = n + join_words(&tool, v, argc - n, argv + n, tool.joined + n);
        argv = tool.joined;
    }
    v = words_take(argc, argv, &tool.args, &status);
    if (!v)
        return status;
    status = open_set(&tool);
    if (status == 0)
        status = !strcmp(v->words, "replies list") ? list(&tool) : classify(&tool);
    reply_classes_free(tool.set);
    args_done(&tool.args);
    return status;
}
