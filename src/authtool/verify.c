/*
 * authtool/verify.c - `gapura auth verify FILE`: SPF of both identities, DKIM, ARC, DMARC.
 *
 * Gathers the evidence that a gate gathers (auth/evidence.h) over one source of answers, so the
 * field is the gate's.
 */
#include "authtool/verify.h"

#include <unistd.h>

#include "authtool/show.h"

#define ARENA_MAX   (64u << 20)
#define TRUSTED_MAX 64u
#define EVALUATORS  4u /* at a time */

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
sender_of(struct verify *v, const struct args *a, struct spf_input *ret, struct why *why)
{
    const char *helo = tool_option(a, "helo"), *from = tool_option(a, "from");
    bool given = from != NULL;
    int rc = tool_ip(a, &v->ip, &v->has_ip, why);

    if (rc == 0 && !v->has_ip && (helo || from))
        rc = why_set(why, ERR_SYNTAX,
                     "--helo and --from are for SPF, which needs the client's address: --ip");
    if (rc < 0)
        return rc;
    v->sender_where = given ? "--from" : "Return-Path";
    if (!given)
        from = return_path(v);
    if (from && tool_show_sender(from, ret, why) < 0) {
        if (given)
            return ERR_SYNTAX;
        from = NULL; /* the message's own field, not a word of the caller */
    }
    ret->helo = str_c(helo);
    v->has_sender = from != NULL;
    v->no_helo = !v->has_ip ? "the client's address is not known: --ip"
                 : !helo    ? "what the client said in EHLO is not known: --helo"
                            : NULL;
    v->no_mailfrom = !v->has_ip       ? v->no_helo
                     : !from          ? "the envelope sender is not known: --from"
                     : !ret->domain.n ? "the null sender: the HELO identity stands for it"
                                      : NULL;
    return 0;
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

/* The settings of `verify` that the options name; all else as a gate has it by default. */
static int
common_of(struct verify *v, const struct args *a, struct why *why)
{
    const char *id = tool_option(a, "id"), *list = tool_option(a, "psl");
    CLEANUP(buf_done) struct buf text = {0};
    struct str trusted[TRUSTED_MAX];
    char host[256] = "localhost";
    struct settings_verify conf = {.mode = VERIFY_ON,
                                   .authserv_id = str_c(id),
                                   .dmarc_method = list ? DMARC_METHOD_PSL : DMARC_METHOD_TREE,
                                   .dkim_signatures = dkim_limits_default.signatures,
                                   .dkim_min_bits = dkim_limits_default.min_bits,
                                   .dkim_max_bits = dkim_limits_default.max_bits};

    conf.arc_trusted.n = trusted_of(a, trusted);
    conf.arc_trusted.items = trusted;
    (void)gethostname(host, sizeof(host) - 1);
    if (list && tool_input_read(list, INPUT_FILE_MAX, &text, why) < 0)
        return ERR_NOTFOUND;
    return auth_common_create(&v->common, &conf, str_c(host), buf_view(&text), why);
}

static int
prepare(struct verify *v, const struct args *a, struct why *why)
{
    struct spf_input sender = {.helo = STR_NONE};
    int rc = sender_of(v, a, &sender, why);

    if (rc == 0)
        rc = common_of(v, a, why);
    if (rc < 0)
        return rc;
    auth_evidence_open(&v->e, v->common, &v->arena, &v->ip, sender.helo, sender.local,
                       sender.domain, tool_time(a), 0);
    v->e.spf_in.receiver = STR("unknown"); /* RFC 7208 7.3 */
    if (auth_evidence_header(&v->e, v->input.header) < 0)
        return why_set(why, ERR_NOMEM, "out of memory");
    auth_evidence_body(&v->e, v->input.body.p, v->input.body.n);
    return 0;
}

/* What was answered becomes known; what cannot be kept is a failure, so that all ends. */
static bool
ask(struct verify *v, struct auth_needs *needs, size_t n)
{
    struct auth_needs asked[EVALUATORS];

    memcpy(asked, needs, n * sizeof(*needs));
    if (!tool_source_ask(v->source, needs, n))
        return false;
    for (size_t k = 0; k < n; k++)
        for (unsigned i = 0; i < asked[k].n; i++) {
            const struct auth_question *q = &asked[k].items[i];
            const struct dns_answer *answer =
                auth_answers_find(tool_source_answers(v->source), str_of(q->name, q->n), q->type);

            if ((!answer || auth_known_add(&v->e.known, answer) < 0) &&
                auth_known_fail(&v->e.known, q) < 0)
                return false;
        }
    return true;
}

typedef enum auth_state evaluate_fn(struct auth_evidence *, uint64_t mono, struct auth_needs *);

/* Runs them side by side to their end: one round of look-ups answers all. */
static void
run(struct verify *v, evaluate_fn *const fns[], size_t n)
{
    struct auth_needs needs[EVALUATORS];
    bool open;

    do {
        memset(needs, 0, sizeof(needs));
        open = false;
        for (size_t i = 0; i < n; i++)
            open |= fns[i](&v->e, tool_source_elapsed(v->source), &needs[i]) == AUTH_NEED;
    } while (open && ask(v, needs, n));
    v->unfinished = v->unfinished || open;
}

/* Left out: it has nothing to say. */
static enum auth_state
nothing(struct auth_evidence *e UNUSED, uint64_t mono UNUSED, struct auth_needs *needs UNUSED)
{
    return AUTH_DONE;
}

static void
run_all(struct verify *v)
{
    bool null_or_known = !v->no_helo && v->has_sender;
    evaluate_fn *const first[EVALUATORS] = {null_or_known ? auth_evidence_helo : nothing,
                                            v->no_mailfrom ? nothing : auth_evidence_mailfrom,
                                            auth_evidence_dkim, auth_evidence_arc};
    evaluate_fn *const dmarc[] = {auth_evidence_dmarc}, *const helo[] = {auth_evidence_helo};

    run(v, first, EVALUATORS);
    run(v, dmarc, 1);
    /* Without a sender this is not the identity of a null sender, and no evidence for DMARC. */
    if (!v->no_helo && !v->has_sender)
        run(v, helo, 1);
}

enum authtool_status
tool_verify_status(const struct verify *v)
{
    const struct auth_evidence *e = &v->e;
    bool pass = e->have_mailfrom && e->mailfrom.result == SPF_PASS;
    bool temporary = e->have_mailfrom && e->mailfrom.result == SPF_TEMPERROR;

    for (unsigned i = 0; e->have_dkim && i < e->dkim->n; i++) {
        pass = pass || e->dkim->results[i].status == DKIM_PASS;
        temporary = temporary || e->dkim->results[i].status == DKIM_TEMPERROR;
    }
    if (e->dmarc.result == DMARC_RESULT_PASS)
        return TOOL_GOOD;
    if (v->unfinished || e->dmarc.result == DMARC_RESULT_TEMPERROR)
        return TOOL_DNS;
    if (e->dmarc.result != DMARC_RESULT_NONE || e->dmarc.advice != DMARC_ACCEPT)
        return TOOL_BAD;
    return pass ? TOOL_GOOD : temporary ? TOOL_DNS : TOOL_BAD;
}

static void
done(struct verify *v)
{
    auth_evidence_close(&v->e);
    auth_common_free(v->common);
    tool_source_close(v->source);
    arena_done(&v->arena);
    buf_done(&v->field);
    tool_input_done(&v->input);
}

int
tool_verify(const struct args *a)
{
    static struct verify v; /* large */
    struct why why = {{0}};
    int status;

    arena_init(&v.arena, ARENA_MAX);
    buf_init(&v.field, 1u << 20);
    if (tool_source_open(a, &v.source, &why) < 0 ||
        tool_input_message(tool_option(a, "file"), &v.input, &why) < 0 ||
        prepare(&v, a, &why) < 0) {
        status = tool_fail(&why, TOOL_USAGE);
    } else {
        run_all(&v);
        auth_evidence_results(&v.e, &v.results);
        authres_write(&v.field, &v.results);
        if (a->as_json)
            tool_json_print(tool_verify_json(&v));
        else
            tool_verify_show(&v);
        status = (int)tool_verify_status(&v);
    }
    done(&v);
    return status;
}
