/*
 * authtool/main.c - finds the verb behind `gapura auth`, checks its words, runs it.
 *
 * Called by roles/main.c. What is no verb of ours is told by ctl/words.c.
 */
#include "authtool/authtool.h"

#include <inttypes.h>

#include "authtool/inner.h"
#include "core/buf.h"
#include "core/clock.h"
#include "ctl/print.h"
#include "ctl/words.h"

const char *
tool_option(const struct args *a, const char *name)
{
    return json_string_value(json_object_get(a->json, name));
}

bool
tool_flag(const struct args *a, const char *name)
{
    return json_is_true(json_object_get(a->json, name));
}

uint64_t
tool_time(const struct args *a)
{
    const json_t *at = json_object_get(a->json, "time");

    return at ? (uint64_t)json_integer_value(at) : clock_wall_s();
}

int
tool_ip(const struct args *a, struct addr *ret, bool *ret_given, struct why *why)
{
    const char *text = tool_option(a, "ip");

    *ret_given = text != NULL;
    if (text && addr_parse(str_c(text), ret) < 0)
        return why_set(why, ERR_SYNTAX,
                       "--ip: `%.60s` is no address; write for example 192.0.2.7 or 2001:db8::1",
                       text);
    return 0;
}

json_t *
tool_json(struct str s)
{
    CLEANUP(buf_done) struct buf text = {0};
    json_t *j;

    if (str_is_utf8(s))
        return json_stringn(s.n ? s.p : "", s.n);
    buf_init(&text, 8 * s.n + 16);
    buf_json(&text, s);
    j = json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    return j ? j : json_string("");
}

void
tool_json_print(json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT);

    printf("%s\n", text ? text : "null");
    free(text);
    json_decref(j);
}

void
tool_print(struct str s)
{
    char *text = str_dup(s);

    print_safe(stdout, text ? text : "");
    free(text);
}

int
tool_fail(const struct why *why, enum authtool_status status)
{
    fputs("gapura: ", stderr);
    print_safe(stderr, why->text);
    fputc('\n', stderr);
    return (int)status;
}

static const struct {
    const char *words;
    int (*run)(const struct args *);
} verbs[] = {
    {"auth verify", tool_verify},
    {"auth sign", tool_sign},
    {"auth spf", tool_spf},
};

static int
run(const struct ctl_verb *v, const struct args *a)
{
    int status = TOOL_USAGE;

    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (!strcmp(v->words, verbs[i].words))
            status = verbs[i].run(a);
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "gapura: the output could not be written\n");
        return TOOL_USAGE;
    }
    return status;
}

int
authtool_main(int argc, char **argv)
{
    const struct ctl_verb *v;
    struct args a;
    int status;

    v = words_take(argc, argv, &a, &status);
    if (!v)
        return status;
    status = run(v, &a);
    args_done(&a);
    return status;
}
