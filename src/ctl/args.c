/*
 * ctl/args.c - the words behind a verb become a checked JSON object.
 *
 * Called by main.c. Never takes a password from the command line: others could read it there.
 */
#include "ctl/args.h"

#include <errno.h>
#include <termios.h>
#include <unistd.h>

#include "core/addr.h"
#include "core/clock.h"
#include "core/conf.h"

#define PASSWORD_MAX 1024u
#define FILE_MAX     16384u

static const char *
option_name(const void *ctx, size_t i)
{
    return ((const struct ctl_verb *)ctx)->options[i].name;
}

static int
unknown_option(const struct ctl_verb *v, const char *name, struct why *why)
{
    struct str near = conf_nearest(str_c(name), option_name, v, v->noptions);

    if (near.n)
        return why_set(why, ERR_SYNTAX, "`gapura %s` has no option --%s; did you mean --%.*s?",
                       v->words, name, STR_ARG(near));
    return why_set(why, ERR_SYNTAX, "`gapura %s` has no option --%s; see gapura %s --help",
                   v->words, name, v->words);
}

static int
set_option(struct args *a, const struct ctl_option *o, const char *value, struct why *why)
{
    struct str text = str_c(value);
    struct prefix prefix;
    uint64_t n;
    int r = 0;

    if (!str_is_utf8(text) || !text.n)
        return why_set(why, ERR_SYNTAX, "--%s: an empty value, or one that is not UTF-8", o->name);
    switch (o->type) {
    case CTL_NUMBER:
    case CTL_COUNT:
        r = str_u64(text, &n);
        if (r < 0 || n > INT64_MAX || (o->type == CTL_COUNT && n == 0))
            return why_set(why, ERR_SYNTAX, "--%s: `%.60s` is not a number%s", o->name, value,
                           o->type == CTL_COUNT ? " from 1 on" : "");
        r = json_object_set_new(a->json, o->name, json_integer((json_int_t)n));
        break;
    case CTL_DURATION:
        if (str_duration(text, &n) < 0 || n < NS_PER_S)
            return why_set(why, ERR_SYNTAX,
                           "--%s: `%.60s` is not a time span; write for example "
                           "30m, 2h or 1d",
                           o->name, value);
        a->interval_s = (unsigned)MIN(n / NS_PER_S, (uint64_t)3600);
        r = json_object_set_new(a->json, o->name, json_string(value));
        break;
    case CTL_PREFIX:
        if (prefix_parse(text, &prefix) < 0)
            return why_set(why, ERR_SYNTAX,
                           "--%s: `%.60s` is not an address or network; write "
                           "for example 192.0.2.7 or 192.0.2.0/24",
                           o->name, value);
        r = json_object_set_new(a->json, o->name, json_string(value));
        break;
    default:
        r = json_object_set_new(a->json, o->name, json_string(value));
        break;
    }
    return r < 0 ? why_set(why, ERR_NOMEM, "out of memory") : 0;
}

/* The switches and the common options that the role need not see. 1: taken. */
static int
take_common(struct args *a, const struct ctl_option *o, const char *value)
{
    struct {
        const char *name;
        bool *flag;
    } flags[] = {{"json", &a->as_json}, {"help", &a->help}, {"once", &a->once}};

    if (!strcmp(o->name, "run-dir")) {
        a->run_dir = value;
        return 1;
    }
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (strcmp(o->name, flags[i].name))
            continue;
        *flags[i].flag = true;
        return 1;
    }
    return 0;
}

/* The option that a word names, "--name", "--name=value" or "-o". NULL with why. */
static const struct ctl_option *
find_option(const struct ctl_verb *v, const char *typed, struct why *why)
{
    char name[64];
    struct str rest, word = str_cut(str_from(str_c(typed), 2), '=', &rest);
    const struct ctl_option *o;

    if (typed[1] != '-') {
        o = ctl_option_find(v, str_c(typed + 1));
        if (o && !o->name[1])
            return o;
        why_set(why, ERR_SYNTAX, "unknown option %.20s; see gapura %s --help", typed, v->words);
        return NULL;
    }
    if (!str_copy(word, name, sizeof(name)) || !name[0]) {
        why_set(why, ERR_SYNTAX, "an option too long to be one of ours");
        return NULL;
    }
    o = ctl_option_find(v, word);
    if (!o)
        unknown_option(v, name, why);
    return o;
}

/* Returns words taken (1 or 2), or an error. */
static int
take_option(const struct ctl_verb *v, char **argv, struct args *a, struct why *why)
{
    const struct ctl_option *o = find_option(v, argv[0], why);
    bool joined = argv[0][1] == '-' && strchr(argv[0], '=');
    const char *value = joined ? strchr(argv[0], '=') + 1 : argv[1];
    int r;

    if (!o)
        return ERR_SYNTAX;
    if (o->type == CTL_FLAG) {
        if (joined)
            return why_set(why, ERR_SYNTAX, "--%s takes no value", o->name);
        if (!take_common(a, o, NULL))
            json_object_set_new(a->json, o->name, json_true());
        return 1;
    }
    if (!value || (!joined && value[0] == '-' && value[1]))
        return why_set(why, ERR_SYNTAX, "%s needs a value: %s %s%s%s%s", argv[0], argv[0], o->value,
                       value ? "; one that begins with - is written --" : "", value ? o->name : "",
                       value ? "=VALUE" : "");
    if (take_common(a, o, value))
        return joined ? 1 : 2;
    r = set_option(a, o, value, why);
    return r < 0 ? r : joined ? 1 : 2;
}

/* The first of the verb's words that was not given yet. */
static bool
next_key(const struct ctl_verb *v, const struct args *a, char dst[32])
{
    struct str keys = str_c(v->argument), key;

    while ((key = str_word(&keys)).n)
        if (str_copy(key, dst, 32) && !json_object_get(a->json, dst))
            return true;
    return false;
}

/* Read here, with the rights of who asks: the role may not open it. */
static int
take_file(const struct ctl_verb *v, const char *path, struct args *a, struct why *why)
{
    char text[FILE_MAX + 1];
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof(text), f) : 0;
    int r = 0;

    if (!f || ferror(f))
        r = why_set(why, ERR_NOTFOUND, "cannot read %.120s: %s", path, strerror(errno));
    else if (n > FILE_MAX || !n)
        r = why_set(why, ERR_LIMIT, "%.120s: `gapura %s` wants a file of 1 to %u bytes", path,
                    v->words, FILE_MAX);
    else if (!str_is_ascii(str_of(text, n)) ||
             json_object_set_new(a->json, "file", json_stringn(text, n)) < 0)
        r = why_set(why, ERR_SYNTAX, "%.120s holds no text", path);
    if (f)
        (void)fclose(f);
    explicit_bzero(text, sizeof(text));
    return r;
}

/* "explain bob@example.org": an address or a Message-ID instead of an id. */
static int
take_argument(const struct ctl_verb *v, const char *word, struct args *a, struct why *why)
{
    char key[32];

    if (!v->argument || !next_key(v, a, key))
        return why_set(why, ERR_SYNTAX, "`gapura %s`: what is `%.60s` for? See gapura %s --help",
                       v->words, word, v->words);
    if (!strcmp(key, "id") && (strchr(word, '@') || word[0] == '<'))
        str_fmt(key, sizeof(key), "recipient");
    if (v->flags & CTL_READS && !strcmp(key, "file"))
        return take_file(v, word, a, why);
    if (!str_is_utf8(str_c(word)) || !word[0] ||
        json_object_set_new(a->json, key, json_string(word)) < 0)
        return why_set(why, ERR_SYNTAX, "`gapura %s`: an empty word, or one that is not UTF-8",
                       v->words);
    return 0;
}

/* What the verb insists on. */
static int
check(const struct ctl_verb *v, const struct args *a, struct why *why)
{
    size_t given = json_object_size(a->json);
    const json_t *reason = json_object_get(a->json, "reason");
    char key[32];

    if (v->argument && v->shown[0] != '[' && next_key(v, a, key) &&
        !json_object_get(a->json, "recipient"))
        return why_set(why, ERR_SYNTAX, "`gapura %s` needs %s; for example: gapura %s", v->words,
                       v->shown, v->example);
    if (v->flags & CTL_REASON && !reason)
        return why_set(why, ERR_SYNTAX,
                       "`gapura %s` wants to know why: --reason TEXT (nothing was "
                       "changed)",
                       v->words);
    given -= reason != NULL;
    given -= json_object_get(a->json, "for") != NULL;
    if (v->flags & CTL_SELECTS && given == 0)
        return why_set(why, ERR_SYNTAX, "`gapura %s` of what? For example: gapura %s", v->words,
                       v->example);
    return 0;
}

int
args_parse(const struct ctl_verb *v, int argc, char **argv, struct args *ret, struct why *why)
{
    struct args a = {.json = json_object(), .interval_s = 2};
    int r = a.json ? 0 : why_set(why, ERR_NOMEM, "out of memory");

    for (int i = 0; r == 0 && i < argc; i++) {
        if (!strcmp(argv[i], "-h")) {
            a.help = true;
        } else if (!strcmp(argv[i], "-c") || !strcmp(argv[i], "--config")) {
            if (i + 1 >= argc)
                r = why_set(why, ERR_SYNTAX, "-c needs a file");
            else
                a.conf = argv[++i];
        } else if (argv[i][0] == '-' && argv[i][1]) {
            int used = take_option(v, argv + i, &a, why);

            r = MIN(used, 0);
            i += used == 2;
        } else {
            r = take_argument(v, argv[i], &a, why);
        }
    }
    if (r == 0 && !a.help && v->flags & CTL_LOCAL &&
        (a.run_dir || (a.conf && v->flags & CTL_OFFLINE)))
        r = why_set(why, ERR_SYNTAX, "`gapura %s` asks no role%s: %s has no place", v->words,
                    v->flags & CTL_OFFLINE ? " and reads no settings" : "",
                    a.conf && !a.run_dir ? "-c" : "--run-dir");
    if (r == 0 && !a.help)
        r = check(v, &a, why);
    if (r < 0) {
        args_done(&a);
        return r;
    }
    *ret = a;
    return 0;
}

void
args_done(struct args *a)
{
    json_decref(a->json);
    *a = (struct args){0};
}

/* One line without its end; false at the end of input or if it is too long. */
static bool
read_line(FILE *from, char dst[PASSWORD_MAX + 2])
{
    size_t n;

    if (!fgets(dst, PASSWORD_MAX + 2, from))
        return false;
    n = strcspn(dst, "\r\n");
    if (!dst[n] && n > PASSWORD_MAX)
        return false;
    dst[n] = '\0';
    return true;
}

/* Echo is off while people type. */
static bool
ask_terminal(FILE *tty, const char *prompt, char dst[PASSWORD_MAX + 2])
{
    struct termios before, quiet;
    bool silent = tcgetattr(fileno(tty), &before) == 0;
    bool ok;

    if (silent) {
        quiet = before;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        silent = tcsetattr(fileno(tty), TCSAFLUSH, &quiet) == 0;
    }
    fprintf(stderr, "%s: ", prompt);
    fflush(stderr);
    ok = read_line(tty, dst);
    if (silent)
        (void)tcsetattr(fileno(tty), TCSAFLUSH, &before);
    fprintf(stderr, "\n");
    return ok;
}

int
args_password(struct args *a, struct why *why)
{
    char first[PASSWORD_MAX + 2] = "", second[PASSWORD_MAX + 2] = "";
    bool tty = isatty(STDIN_FILENO);
    bool ok = tty ? ask_terminal(stdin, "New password", first) : read_line(stdin, first);
    int r = 0;

    if (ok && tty)
        ok = ask_terminal(stdin, "Once more", second);
    if (!ok || !first[0])
        r = why_set(why, ERR_SYNTAX,
                    "no password was given; type it, or give it as the first "
                    "line of standard input");
    else if (tty && strcmp(first, second))
        r = why_set(why, ERR_SYNTAX, "the two passwords differ; nothing was changed");
    else if (!str_is_utf8(str_c(first)))
        r = why_set(why, ERR_SYNTAX, "the password is not UTF-8; nothing was changed");
    else if (json_object_set_new(a->json, "password", json_string(first)) < 0)
        r = why_set(why, ERR_NOMEM, "out of memory");
    explicit_bzero(first, sizeof(first));
    explicit_bzero(second, sizeof(second));
    return r;
}
