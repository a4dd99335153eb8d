/*
 * authtool/spf.c - `gapura auth spf DOMAIN --ip ADDRESS`: what a domain's policy says, term by
 * term.
 */
#include "authtool/show.h"

#define ARENA_MAX (16u << 20)

/* The sender: of DOMAIN, whoever --from says. */
static int
input_of(const struct args *a, struct spf_input *in, struct why *why)
{
    const char *domain = tool_option(a, "domain"), *from = tool_option(a, "from");
    const char *helo = tool_option(a, "helo");
    bool given;
    int rc = tool_ip(a, &in->ip, &given, why);

    if (rc < 0)
        return rc;
    if (!given)
        return why_set(why, ERR_SYNTAX,
                       "an address is needed: which client is it that sends? --ip ADDRESS");
    if (from && tool_show_sender(from, in, why) < 0)
        return ERR_SYNTAX;
    if (from && strchr(from, '@') && !str_ieq(in->domain, str_c(domain)))
        return why_set(why, ERR_SYNTAX,
                       "--from: `%.60s` is not at %.60s; give a sender of the domain that is "
                       "checked, or only its local part",
                       from, domain);
    if (from && !strchr(from, '@'))
        in->local = in->domain;
    in->domain = str_c(domain);
    in->helo = helo ? str_c(helo) : in->domain;
    in->receiver = STR("unknown"); /* RFC 7208 7.3 */
    in->time = tool_time(a);
    in->limits = &spf_limits_default;
    return 0;
}

static void
print(const struct spf_input *in, const struct spf_verdict *v)
{
    char ip[48];

    printf("%s: ", spf_result_name(v->result));
    tool_print(in->domain);
    printf(" and %s: ", addr_show(&in->ip, ip));
    tool_show_spf(v, in->limits);
}

int
tool_spf(const struct args *a)
{
    struct spf_input in = {.identity = SPF_MAILFROM};
    struct tool_source *source = NULL;
    struct spf_verdict v;
    struct arena arena;
    struct why why = {{0}};
    int status;

    if (input_of(a, &in, &why) < 0 || tool_source_open(a, &source, &why) < 0)
        return tool_fail(&why, TOOL_USAGE);
    arena_init(&arena, ARENA_MAX);
    tool_show_spf_run(&in, source, &arena, &v);
    if (a->as_json)
        tool_json_print(tool_show_spf_json(&v, in.limits));
    else
        print(&in, &v);
    status = v.result == SPF_PASS ? TOOL_GOOD : v.result == SPF_TEMPERROR ? TOOL_DNS : TOOL_BAD;
    arena_done(&arena);
    tool_source_close(source);
    return status;
}
