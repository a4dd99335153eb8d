/*
 * authtool/show.c - one SPF evaluation: run, told to people, told to programs.
 *
 * Called by spf.c and verify.c.
 */
#include "authtool/show.h"

void
tool_show_spf_run(struct spf_input *in, struct tool_source *source, struct arena *arena,
                  struct spf_verdict *ret)
{
    struct auth_needs needs = {.n = 0};

    *ret = (struct spf_verdict){.result = SPF_TEMPERROR, .why = STR("no room for all answers")};
    do {
        in->elapsed_ns = tool_source_elapsed(source);
    } while (spf_run(in, tool_source_answers(source), &needs, arena, ret) == AUTH_NEED &&
             tool_source_ask(source, &needs, 1));
}

int
tool_show_sender(const char *text, struct spf_input *in, struct why *why)
{
    struct str s = str_c(text);
    ssize_t at;

    if (s.n > 1 && s.p[0] == '<' && s.p[s.n - 1] == '>')
        s = str_sub(s, 1, s.n - 2);
    at = str_rchr(s, '@');
    in->local = at > 0 ? str_sub(s, 0, (size_t)at) : STR_NONE;
    in->domain = str_from(s, (size_t)(at + 1));
    if (s.n && (!in->domain.n || str_has_ctl(s)))
        return why_set(why, ERR_SYNTAX,
                       "--from: `%.60s` is no address; write for example a@example.org, or <> for "
                       "the null sender",
                       text);
    return 0;
}

void
tool_show_spf(const struct spf_verdict *v, const struct spf_limits *limits)
{
    tool_print(v->why);
    if (v->mechanism.n) {
        printf(" (");
        tool_print(v->mechanism);
        printf(")");
    }
    putchar('\n');
    for (unsigned i = 0; i < v->nsteps; i++) {
        const struct spf_step *s = &v->steps[i];

        printf("    %*s", s->depth * 2, "");
        tool_print(s->record);
        printf(": ");
        tool_print(s->term);
        if (s->target.n && str_find(s->term, s->target) < 0) {
            printf(" [");
            tool_print(s->target);
            printf("]");
        }
        printf(": %s", spf_outcome_name(s->outcome));
        if (s->lookups)
            printf(", %u %s", s->lookups, s->lookups == 1 ? "look-up" : "look-ups");
        putchar('\n');
    }
    if (v->steps_lost)
        printf("    %u more terms were looked at\n", v->steps_lost);
    if (v->explanation.n) {
        printf("    the domain explains: ");
        tool_print(v->explanation);
        putchar('\n');
    }
    printf("    used: %u of %u terms with look-ups, %u of %u without an answer, %u of %u "
           "queries\n",
           v->terms, limits->terms, v->voids, limits->voids, v->queries, limits->queries);
}

static json_t *
step_json(const struct spf_step *s)
{
    json_t *j = json_object();

    json_object_set_new(j, "record", tool_json(s->record));
    json_object_set_new(j, "term", tool_json(s->term));
    if (s->target.n)
        json_object_set_new(j, "target", tool_json(s->target));
    json_object_set_new(j, "outcome", json_string(spf_outcome_name(s->outcome)));
    json_object_set_new(j, "lookups", json_integer(s->lookups));
    json_object_set_new(j, "depth", json_integer(s->depth));
    return j;
}

static json_t *
use_json(unsigned used, unsigned limit)
{
    return json_pack("{s:i,s:i}", "used", (int)used, "limit", (int)limit);
}

json_t *
tool_show_spf_json(const struct spf_verdict *v, const struct spf_limits *limits)
{
    json_t *j = json_object(), *steps = json_array(), *uses = json_object();

    json_object_set_new(j, "identity", json_string(v->identity == SPF_HELO ? "helo" : "mailfrom"));
    json_object_set_new(j, "domain", tool_json(v->domain));
    json_object_set_new(j, "result", json_string(spf_result_name(v->result)));
    json_object_set_new(j, "why", tool_json(v->why));
    if (v->mechanism.n)
        json_object_set_new(j, "mechanism", tool_json(v->mechanism));
    if (v->explanation.n)
        json_object_set_new(j, "explanation", tool_json(v->explanation));
    for (unsigned i = 0; i < v->nsteps; i++)
        json_array_append_new(steps, step_json(&v->steps[i]));
    json_object_set_new(j, "steps", steps);
    json_object_set_new(j, "steps_lost", json_integer(v->steps_lost));
    json_object_set_new(uses, "terms", use_json(v->terms, limits->terms));
    json_object_set_new(uses, "voids", use_json(v->voids, limits->voids));
    json_object_set_new(uses, "queries", use_json(v->queries, limits->queries));
    json_object_set_new(j, "limits", uses);
    json_object_set_new(j, "ttl", json_integer(v->ttl));
    return j;
}
