/*
 * authtool/verify.c - `gapura auth verify FILE`: SPF of both identities, DKIM, ARC, DMARC.
 *
 * Runs the evaluators as the gate does, over one source of answers, and makes the same field. The
 * evaluators wait side by side: one round of look-ups answers all of them.
 */
#include "authtool/verify.h"

#include <unistd.h>

#include "authtool/show.h"
#include "core/clock.h"

#define ARENA_MAX   (64u << 20)
#define KEYS_MAX    64u
#define TRUSTED_MAX 64u

/* The envelope sender out of Return-Path, which the last server wrote into a stored message. */
static const char *
return_path(struct verify *v)
{
    struct header_field f;
    size_t n;

    if (!header_find(v->input.header, STR("Return-Path"), &f))
        return NULL;
    n = header_unfold(f.value, v->return_path, sizeof(v->return_path) - 1);
    v->return_path[n] = '\0';
    return v->return_path;
}

static int
prepare_spf(struct verify *v, const struct args *a, struct why *why)
{
    const char *helo = tool_option(a, "helo"), *from = tool_option(a, "from");
    struct spf_input in = {.receiver = STR("unknown"), .limits = &spf_limits_default};
    int rc = tool_ip(a, &v->ip, &v->has_ip, why);

    if (rc < 0)
        return rc;
    if (!v->has_ip && (helo || from))
        return why_set(why, ERR_SYNTAX,
                       "--helo and --from are for SPF, which needs the client's address: --ip");
    v->from_where = from ? "--from" : "Return-Path";
    if (!from)
        from = return_path(v);
    in.ip = v->ip;
    in.helo = str_c(helo);
    in.time = tool_time(a);
    v->helo.in = v->mailfrom.in = in;
    v->helo.in.identity = SPF_HELO;
    if (from)
        rc = tool_show_sender(from, &v->mailfrom.in, why);
    if (rc < 0 && !tool_option(a, "from")) {
        rc = 0; /* the message's own field, not a word of the caller */
        from = NULL;
    }
    v->null = from && !v->mailfrom.in.domain.n;
    v->helo.in.local = v->mailfrom.in.local; /* %{l} is postmaster for HELO all the same */
    v->helo.in.domain = v->mailfrom.in.domain;
    v->helo.skipped = !v->has_ip ? "the client's address is not known: --ip"
                      : !helo    ? "what the client said in EHLO is not known: --helo"
                                 : NULL;
    v->mailfrom.skipped = !v->has_ip ? v->helo.skipped
                          : !from    ? "the envelope sender is not known: --from"
                          : v->null  ? "the null sender: the HELO identity stands for it"
                                     : NULL;
    return rc;
}

static int
prepare(struct verify *v, const struct args *a, struct why *why)
{
    int rc;

    v->message = dkim_message_create();
    v->keys = dkim_keys_create(KEYS_MAX, 1, &dkim_limits_default);
    rc = v->message && v->keys
             ? dkim_message_headers(v->message, v->input.header, &dkim_limits_default)
             : ERR_NOMEM;
    if (rc < 0)
        return why_set(why, rc, "out of memory");
    dkim_verify_prepare(&v->dkim, v->message, &dkim_limits_default);
    arc_prepare(&v->chain, v->message, &dkim_limits_default);
    dkim_message_body(v->message, v->input.body.p, v->input.body.n);
    dkim_message_end(v->message);
    dmarc_author(v->input.header, &v->author);
    return prepare_spf(v, a, why);
}

static size_t
trusted_of(const struct args *a, struct str list[TRUSTED_MAX])
{
    struct str rest = str_c(tool_option(a, "trust"));
    size_t n = 0;

    while (rest.n && n < TRUSTED_MAX) {
        struct str one = str_trim(str_cut(rest, ',', &rest));

        if (one.n)
            list[n++] = one;
    }
    return n;
}

static enum auth_state
run_spf(struct verify *v, struct spf_part *part, struct auth_needs *needs)
{
    part->in.elapsed_ns = tool_source_elapsed(v->source);
    if (part->skipped)
        return AUTH_DONE;
    return spf_run(&part->in, tool_source_answers(v->source), needs, &v->arena, &part->v);
}

/* Everything but DMARC, in rounds. */
static void
run_all(struct verify *v, const struct args *a)
{
    enum { HELO, MAILFROM, SIGNATURES, CHAIN, ALL };
    struct auth_needs needs[ALL];
    struct str trusted[TRUSTED_MAX];
    size_t ntrusted = trusted_of(a, trusted);
    uint64_t now = tool_time(a);
    bool open;

    do {
        memset(needs, 0, sizeof(needs));
        open = run_spf(v, &v->helo, &needs[HELO]) == AUTH_NEED;
        open |= run_spf(v, &v->mailfrom, &needs[MAILFROM]) == AUTH_NEED;
        open |= dkim_verify_run(&v->dkim, now, v->keys, tool_source_answers(v->source),
                                &needs[SIGNATURES]) == AUTH_NEED;
        open |= arc_run(&v->chain, now, trusted, ntrusted, v->keys, tool_source_answers(v->source),
                        &needs[CHAIN], &v->arc) == AUTH_NEED;
    } while (open && tool_source_ask(v->source, needs, ALL));
    v->unfinished = open;
}

static enum dmarc_auth
auth_of(bool pass, bool temporary)
{
    return pass ? DMARC_AUTH_PASS : temporary ? DMARC_AUTH_TEMPERROR : DMARC_AUTH_OTHER;
}

static int
run_dmarc(struct verify *v, const struct args *a, struct why *why)
{
    struct dmarc_identifier dkim[DKIM_SIGS_MAX];
    struct dmarc_input in = {.author = &v->author, .dkim = dkim, .ndkim = v->dkim.n};
    const struct spf_part *spf = v->mailfrom.skipped ? &v->helo : &v->mailfrom;
    const char *list = tool_option(a, "psl");
    struct auth_needs needs = {.n = 0};
    struct psl *psl = NULL;

    if (list && psl_open(list, &psl, why) < 0)
        return ERR_NOTFOUND;
    in.psl = psl;
    if (!spf->skipped && (spf == &v->mailfrom || v->null))
        in.spf = (struct dmarc_identifier){
            auth_of(spf->v.result == SPF_PASS, spf->v.result == SPF_TEMPERROR), spf->v.domain};
    else
        in.spf.auth = DMARC_AUTH_OTHER;
    for (unsigned i = 0; i < v->dkim.n; i++) {
        const struct dkim_result *r = &v->dkim.results[i];

        dkim[i] = (struct dmarc_identifier){
            auth_of(r->status == DKIM_PASS, r->status == DKIM_TEMPERROR), str_c(r->domain_ascii)};
    }
    while (dmarc_run(&in, tool_source_answers(v->source), &needs, &v->arena, &v->dmarc) ==
               AUTH_NEED &&
           tool_source_ask(v->source, &needs, 1))
        ;
    v->unfinished = v->unfinished || needs.n;
    psl_close(psl);
    return 0;
}

static void
add_dkim(struct authres *a, const struct dkim_result *r)
{
    struct authres_result *row = authres_add(a, STR("dkim"), str_c(dkim_status_name(r->status)));

    if (!row)
        return;
    if (r->status != DKIM_PASS)
        row->reason = str_c(dkim_reason_text(r->reason));
    authres_prop(row, STR("header"), STR("d"), r->domain);
    authres_prop(row, STR("header"), STR("i"), r->identity);
    authres_prop(row, STR("header"), STR("s"), r->selector);
    if (r->alg != DKIM_ALG_NONE)
        authres_prop(row, STR("header"), STR("a"), str_c(dkim_alg_name(r->alg)));
    authres_prop(row, STR("header"), STR("b"), str_sub(r->b, 0, 8)); /* RFC 6008 */
}

/* The rows in the order of their field. */
static void
write_field(struct verify *v, const char *id)
{
    struct authres *a = &v->results;
    struct authres_result *row;

    a->id = arena_str(&v->arena, str_c(id));
    if (!v->helo.skipped)
        authres_add_spf(a, &v->helo.v, &v->helo.in);
    if (!v->mailfrom.skipped)
        authres_add_spf(a, &v->mailfrom.v, &v->mailfrom.in);
    for (unsigned i = 0; i < v->dkim.n; i++)
        add_dkim(a, &v->dkim.results[i]);
    if (!v->dkim.n)
        authres_add(a, STR("dkim"), STR("none"));
    row = authres_add(a, STR("arc"), str_c(arc_cv_name(v->arc.cv)));
    if (row && v->arc.cv == ARC_FAIL)
        row->reason = str_c(v->arc.text);
    authres_add_dmarc(a, &v->dmarc);
    authres_write(&v->field, a);
}

enum authtool_status
tool_verify_status(const struct verify *v)
{
    bool pass = !v->mailfrom.skipped && v->mailfrom.v.result == SPF_PASS;
    bool temporary = !v->mailfrom.skipped && v->mailfrom.v.result == SPF_TEMPERROR;

    for (unsigned i = 0; i < v->dkim.n; i++) {
        pass = pass || v->dkim.results[i].status == DKIM_PASS;
        temporary = temporary || v->dkim.results[i].status == DKIM_TEMPERROR;
    }
    if (v->dmarc.result == DMARC_RESULT_PASS)
        return TOOL_GOOD;
    if (v->unfinished || v->dmarc.result == DMARC_RESULT_TEMPERROR)
        return TOOL_DNS;
    if (v->dmarc.result != DMARC_RESULT_NONE || v->dmarc.advice != DMARC_ACCEPT)
        return TOOL_BAD;
    return pass ? TOOL_GOOD : temporary ? TOOL_DNS : TOOL_BAD;
}

static void
done(struct verify *v)
{
    dkim_message_free(v->message);
    dkim_keys_free(v->keys);
    tool_source_close(v->source);
    arena_done(&v->arena);
    buf_done(&v->field);
    tool_input_done(&v->input);
}

int
tool_verify(const struct args *a)
{
    static struct verify v; /* large: the validator has room for every instance */
    const char *id = tool_option(a, "id");
    struct why why = {{0}};
    char host[256] = "localhost";
    int status;

    (void)gethostname(host, sizeof(host) - 1);
    arena_init(&v.arena, ARENA_MAX);
    buf_init(&v.field, 1u << 20);
    if (tool_source_open(a, &v.source, &why) < 0 ||
        tool_input_message(tool_option(a, "file"), &v.input, &why) < 0 ||
        prepare(&v, a, &why) < 0) {
        status = tool_fail(&why, TOOL_USAGE);
    } else {
        run_all(&v, a);
        status = TOOL_GOOD;
        if (run_dmarc(&v, a, &why) < 0)
            status = tool_fail(&why, TOOL_USAGE);
    }
    if (status == TOOL_GOOD) {
        write_field(&v, id ? id : host);
        if (a->as_json)
            tool_json_print(tool_verify_json(&v));
        else
            tool_verify_show(&v);
        status = (int)tool_verify_status(&v);
    }
    done(&v);
    return status;
}
