/*
 * ctl/words.c - finding the verb that was typed, its help, and what to say if there is none.
 *
 * Called by ctl/main.c, and by the rooms that run verbs of their own through words_take(). Asks no
 * role and reads no file.
 */
#include "ctl/words.h"

#include "core/conf.h"
#include "core/lang.h"
#include "ctl/print.h"

#define LEFT_WIDTH 20u /* of options in help */
#define TYPED_MAX  128u

/* Words of `words` that argv begins with, or 0. */
static int
match(const char *words, int argc, char **argv)
{
    struct str rest = str_c(words);
    int n = 0;

    while (rest.n) {
        if (n >= argc || !str_eq(str_word(&rest), str_c(argv[n])))
            return 0;
        n++;
    }
    return n;
}

const struct ctl_verb *
words_find(int argc, char **argv, int *ret_used)
{
    const struct ctl_verb *found = NULL;

    *ret_used = 0;
    for (size_t i = 0; i < ctl_nverbs; i++) {
        int used = match(ctl_verbs[i].words, argc - 1, argv + 1);

        if (used <= *ret_used)
            continue;
        *ret_used = used;
        found = &ctl_verbs[i];
    }
    return found;
}

void
words_usage(FILE *to)
{
    fputs(lang_text("usage: gapura VERB [words and options]\n"), to);
    for (size_t i = 0; i < ctl_nverbs; i++) {
        const struct ctl_verb *v = &ctl_verbs[i];
        char left[64];

        if (v->group)
            fprintf(to, "\n%s\n", lang_text(v->group));
        str_fmt(left, sizeof(left), "%s%s%s", v->words, v->shown ? " " : "",
                v->shown ? v->shown : "");
        if (strlen(left) > 26)
            fprintf(to, "  %s\n  %26s %s\n", left, "", lang_text(v->help));
        else
            fprintf(to, "  %-26s %s\n", left, lang_text(v->help));
    }
    fputs(lang_text("\n`gapura VERB --help` shows options and an example; gapura(1) and\n"
                    "gapura.conf(5) tell the rest.\n"),
          to);
}

static void
option_line(const char *left, const char *help, FILE *to)
{
    if (strlen(left) > LEFT_WIDTH)
        fprintf(to, "  %s\n  %*s %s\n", left, (int)LEFT_WIDTH, "", lang_text(help));
    else
        fprintf(to, "  %-*s %s\n", (int)LEFT_WIDTH, left, lang_text(help));
}

static void
option_help(const struct ctl_option *o, FILE *to)
{
    char left[48];

    str_fmt(left, sizeof(left), "%s%s%s%s", o->name[1] ? "--" : "-", o->name, o->value ? " " : "",
            o->value ? o->value : "");
    option_line(left, o->help, to);
}

void
words_help(const struct ctl_verb *v, FILE *to)
{
    fprintf(to, lang_text("usage: gapura %s%s%s [options]\n\n%s\n"), v->words, v->shown ? " " : "",
            v->shown ? v->shown : "", lang_text(v->help));
    if (v->more)
        fprintf(to, "%s\n", lang_text(v->more));
    fprintf(to, "\n");
    for (size_t i = 0; i < v->noptions; i++)
        option_help(&v->options[i], to);
    for (size_t i = 0; i < ctl_ncommon; i++)
        if (!(v->flags & CTL_LOCAL) || !strcmp(ctl_common[i].name, "help"))
            option_help(&ctl_common[i], to);
    if (v->flags & CTL_SETTINGS)
        option_line("-c FILE", "the settings (default /etc/gapura/gapura.conf)", to);
    else if (!(v->flags & CTL_OFFLINE))
        option_line("-c FILE", "the settings, to find the control sockets", to);
    fprintf(to, lang_text("\nexample: gapura %s\n"), v->example);
}

/* ---- no such verb ---- */

/* What people type who know another program: what it is here. */
static const struct {
    const char *typed, *said;
} elsewhere[] = {
    {"start", "`systemctl start gapura`, or `gapura run` in the foreground"},
    {"stop", "`systemctl stop gapura`; without systemd, SIGTERM to the process of `gapura run`"},
    {"restart",
     "`systemctl restart gapura`; SIGUSR2 to the process of `gapura run` restarts it with "
     "the ports open, `gapura reload` reads the settings"},
    {"flush", "`gapura queue retry --all`"},
    {"mailq", "`gapura queue list`"},
    {"delete", "`gapura queue remove`"},
    {"hold", "`gapura queue hold`"},
    {"release", "`gapura queue release`"},
    {"quarantine", "`gapura queue list --state held`, then `gapura queue release` or `remove`"},
    {"configtest", "`gapura check`"},
    {"test", "`gapura check` for settings, `gapura policy test` for a profile"},
    {"config", "`gapura check`; gapura.conf(5) tells of every row"},
    {"dkim", "`gapura domain dkim`, or `gapura auth sign` for a file"},
    {"spf", "`gapura auth spf`"},
    {"dmarc", "`gapura auth verify`, or `gapura domain dns` for what a domain should publish"},
    {"dns", "`gapura domain dns`"},
    {"profile", "`gapura policy show`"},
    {"log",
     "`gapura explain ID|ADDRESS` for mail, `gapura trace` for live sessions; events are in the "
     "file that `events.file` names"},
    {"logs",
     "`gapura explain ID|ADDRESS` for mail, `gapura trace` for live sessions; events are in "
     "the file that `events.file` names"},
    {"password", "`gapura user password`"},
    {"passwd", "`gapura user password`"},
    {"doctor", "`gapura check`, `gapura status` and `gapura domain dns DOMAIN`"},
    {"retry", "`gapura queue retry`"},
    {"requeue", "`gapura queue retry`"},
    {"remove", "`gapura queue remove`"},
    {"list", "`gapura queue list`, `gapura user list`, `gapura domain dkim list`"},
    {"show", "`gapura queue show ID` for what waits, `gapura explain ID` for its whole life"},
    {"find", "`gapura explain ID|ADDRESS|MESSAGE-ID`, or `gapura queue list` with its filters"},
    {"search", "`gapura explain ID|ADDRESS|MESSAGE-ID`, or `gapura queue list` with its filters"},
    {"grep", "`gapura explain ID|ADDRESS|MESSAGE-ID`, or `gapura queue list` with its filters"},
    {"stats", "`gapura top`, or the page for Prometheus that `control.metrics` opens"},
    {"metrics", "the page for Prometheus that `control.metrics` opens"},
    {"postqueue", "`gapura queue list`, and `gapura queue retry --all` for -f"},
    {"postsuper", "`gapura queue remove`, `hold` or `release`"},
    {"postcat", "`gapura queue show ID`"},
    {"postconf", "`gapura check`; gapura.conf(5) tells of every row"},
    {"tenant", "a block `tenant` in the settings; `gapura queue list --tenant NAME` has its mail"},
    {"pause", "`gapura suspend`"},
    {"queue delete", "`gapura queue remove`"},
    {"queue rm", "`gapura queue remove`"},
    {"queue purge", "`gapura queue remove`"},
    {"queue drop", "`gapura queue remove`"},
    {"queue clear", "`gapura queue remove --all --reason TEXT`"},
    {"queue flush", "`gapura queue retry --all`"},
    {"queue requeue", "`gapura queue retry`"},
    {"queue unhold", "`gapura queue release`"},
    {"queue ls", "`gapura queue list`"},
    {"queue count", "`gapura queue summary`"},
    {"queue find", "`gapura queue list` with its filters, or `gapura explain ADDRESS`"},
    {"queue suspend", "`gapura suspend`"},
    {"queue resume", "`gapura resume`"},
    {"queue explain", "`gapura explain`"},
    {"user del", "`gapura user remove`"},
    {"user delete", "`gapura user remove`"},
    {"user passwd", "`gapura user password`"},
};

/* "tenant list" is answered as "tenant" is, "queue delete 2v8m..." as "queue delete". */
static const char *
known_elsewhere(struct str typed, struct str group)
{
    struct str rest = typed, first = str_word(&rest), second = str_word(&rest);
    struct str two = second.n ? str_of(typed.p, (size_t)(second.p + second.n - typed.p)) : typed;

    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++) {
        if (str_eq(two, str_c(elsewhere[i].typed)))
            return elsewhere[i].said;
        if (!group.n && str_eq(first, str_c(elsewhere[i].typed)))
            return elsewhere[i].said;
    }
    return NULL;
}

/* The words up to the first option. */
static struct str
typed_words(int n, char **words, char dst[TYPED_MAX])
{
    size_t at = 0;

    dst[0] = '\0';
    for (int i = 0; i < n && words[i][0] != '-'; i++)
        at = MIN(at + str_fmt(dst + at, TYPED_MAX - at, "%s%s", at ? " " : "", words[i]),
                 (size_t)TYPED_MAX - 1);
    return str_of(dst, at);
}

static bool
in_group(const struct ctl_verb *v, struct str group)
{
    struct str words = str_c(v->words);

    return str_starts(words, group) && words.n > group.n && words.p[group.n] == ' ';
}

static bool
is_group(struct str words)
{
    for (size_t i = 0; i < ctl_nverbs && words.n; i++)
        if (in_group(&ctl_verbs[i], words))
            return true;
    return false;
}

static void
list_group(struct str group, FILE *to)
{
    for (size_t i = 0; i < ctl_nverbs; i++)
        if (in_group(&ctl_verbs[i], group))
            fprintf(to, "  gapura %-21s %s\n", ctl_verbs[i].words, lang_text(ctl_verbs[i].help));
}

static const char *
verb_words(const void *ctx UNUSED, size_t i)
{
    return ctl_verbs[i].words;
}

/* What stands before the first space, in room of its own. */
static const char *
first_word(const void *ctx, size_t i)
{
    char *room = *(char *const *)ctx + i * 32;
    struct str rest = str_c(ctl_verbs[i].words);

    return str_copy(str_word(&rest), room, 32) ? room : "";
}

/* The nearest verb, else the nearest first word; both stand in the table's own room. */
static struct str
nearest(struct str typed)
{
    static char room[64][32];
    char *words = room[0];
    struct str rest = typed, near;

    near = conf_nearest(typed, verb_words, NULL, ctl_nverbs);
    if (!near.n && ctl_nverbs <= ARRAY_LEN(room))
        near = conf_nearest(str_word(&rest), first_word, &words, ctl_nverbs);
    return near;
}

static bool
wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
    return false;
}

/* Behind the name of what there is not. */
static void
say_instead(struct str typed, struct str group)
{
    struct str near = nearest(typed);
    const char *known = known_elsewhere(typed, group);
    char hint[96];

    if (known) {
        fprintf(stderr, "; that is %s\n", known);
        return;
    }
    if (str_eq(near, group))
        near = STR_NONE;
    if (near.n) {
        str_fmt(hint, sizeof(hint), "gapura %.*s", STR_ARG(near));
        fprintf(stderr, "; did you mean `%s`?", hint);
    }
    if (group.n) {
        fputs(near.n ? " There are:\n" : "; there are:\n", stderr);
        list_group(group, stderr);
    } else {
        fprintf(stderr, "%s`gapura help` lists all\n", near.n ? " " : "; ");
    }
}

int
words_unknown(int argc, char **argv)
{
    char room[TYPED_MAX];
    struct str typed = typed_words(argc - 1, argv + 1, room), group = typed;
    ssize_t space;

    if (!typed.n) {
        fprintf(stderr, "gapura: the verb comes first, options stand behind it: gapura status -c "
                        "FILE; `gapura help` lists all verbs\n");
        return 2;
    }
    if (is_group(typed)) {
        list_group(typed, wants_help(argc, argv) ? stdout : stderr);
        return wants_help(argc, argv) ? 0 : 2;
    }
    while (group.n && !is_group(group)) {
        space = str_rchr(group, ' ');
        group = str_of(group.p, space < 0 ? 0 : (size_t)space);
    }
    fputs("gapura: there is no verb `", stderr);
    print_safe(stderr, room);
    fputc('`', stderr);
    str_lower(room, typed.n);
    say_instead(typed, group);
    return 2;
}

const struct ctl_verb *
words_take(int argc, char **argv, struct args *ret, int *ret_status)
{
    struct why why = {{0}};
    int used;
    const struct ctl_verb *v;

    lang_set_from_environment();
    v = words_find(argc, argv, &used);
    if (!v) {
        *ret_status = words_unknown(argc, argv);
        return NULL;
    }
    if (args_parse(v, argc - 1 - used, argv + 1 + used, ret, &why) < 0) {
        fputs("gapura: ", stderr);
        print_safe(stderr, why.text);
        fputc('\n', stderr);
        *ret_status = 2;
        return NULL;
    }
    if (ret->help) {
        words_help(v, stdout);
        args_done(ret);
        *ret_status = 0;
        return NULL;
    }
    return v;
}
