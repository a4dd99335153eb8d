/*
 * fuzz/fuzz_spool_record.c - payloads of records from any bytes: nothing points outside, and what
 * decodes is the same after another round.
 */
#include "spool/envelope.h"
#include "spool/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define LIST_MAX 512

/* A view lies inside the payload (or is empty). */
static void
inside(struct str outer, struct str view)
{
    ENSURE(view.n == 0 ||
           (view.p >= outer.p && view.n <= outer.n && view.p + view.n <= outer.p + outer.n));
}

static int
gather(const struct spool_envelope *env, struct str payload, struct spool_rcpt *rcpts,
       struct spool_chunk *chunks, uint32_t *ret_rcpts, uint32_t *ret_chunks)
{
    struct spool_rcpt r;
    struct spool_chunk c;
    size_t at = 0;
    int got;

    *ret_rcpts = *ret_chunks = 0;
    while ((got = spool_rcpt_next(env, &at, &r)) == 1) {
        inside(payload, r.address);
        inside(payload, r.orcpt);
        inside(payload, r.via);
        if (*ret_rcpts < LIST_MAX)
            rcpts[*ret_rcpts] = r;
        ++*ret_rcpts;
    }
    if (got < 0)
        return got;
    ENSURE(*ret_rcpts == env->nrcpt);
    at = 0;
    while ((got = spool_chunk_next(env, &at, &c)) == 1) {
        if (*ret_chunks < LIST_MAX)
            chunks[*ret_chunks] = c;
        ++*ret_chunks;
    }
    ENSURE(got < 0 || *ret_chunks == env->nchunks);
    return got;
}

static void
views(const struct spool_envelope *env, struct str payload)
{
    const struct str all[] = {env->helo,       env->user,        env->sender,    env->envid,
                              env->message_id, env->chunks_wire, env->rcpts_wire};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        inside(payload, all[i]);
}

static void
envelope(const struct spool_record *r)
{
    static struct spool_rcpt rcpts[LIST_MAX], again_rcpts[LIST_MAX];
    static struct spool_chunk chunks[LIST_MAX], again_chunks[LIST_MAX];
    struct spool_envelope env, again;
    struct spool_record second = {.type = SPOOL_MESSAGE, .seq = r->seq};
    CLEANUP(buf_done) struct buf out = {0};
    uint32_t nrcpts, nchunks;

    if (spool_envelope_decode(r, 3, 7, &env) < 0)
        return;
    views(&env, r->payload);
    if (gather(&env, r->payload, rcpts, chunks, &nrcpts, &nchunks) < 0 || nrcpts > LIST_MAX ||
        nchunks > LIST_MAX)
        return;
    buf_init(&out, 16u << 20);
    spool_envelope_encode(&out, &env, rcpts, chunks);
    if (out.failed)
        return;
    second.payload = buf_view(&out);
    ENSURE(spool_envelope_decode(&second, 3, 7, &again) == 0);
    ENSURE(gather(&again, second.payload, again_rcpts, again_chunks, &nrcpts, &nchunks) == 0);
    ENSURE(again.nrcpt == env.nrcpt && again.nchunks == env.nchunks);
    ENSURE(str_eq(again.sender, env.sender) && str_eq(again.message_id, env.message_id));
    ENSURE(again.size == env.size && again.flags == env.flags && again.tenant == env.tenant);
    ENSURE(again.priority == env.priority && again.by_mode == env.by_mode);
    ENSURE(!env.by_mode || (again.deliver_by == env.deliver_by && again.by_trace == env.by_trace));
    for (uint32_t i = 0; i < nrcpts; i++)
        ENSURE(str_eq(rcpts[i].address, again_rcpts[i].address));
}

static void
copy(const struct spool_record *r)
{
    static struct spool_rcpt rcpts[LIST_MAX];
    static struct spool_chunk chunks[LIST_MAX];
    struct spool_copy_state state;
    struct spool_envelope env;
    struct str states;
    uint32_t nrcpts, nchunks;

    if (spool_copy_decode(r, &env, &states) < 0)
        return;
    views(&env, r->payload);
    inside(r->payload, states);
    (void)gather(&env, r->payload, rcpts, chunks, &nrcpts, &nchunks);
    for (uint32_t i = 0; i < env.nrcpt + 1 && i < 4096; i++)
        (void)spool_copy_state_at(states, i, &state);
}

static void
ordinals(struct str wire, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        (void)spool_ordinal_at(wire, i);
}

static void
one(const struct spool_record *r)
{
    struct spool_intent intent;
    struct spool_outcome outcome;
    struct spool_void gap;
    struct spool_scope scope;

    switch (r->type) {
    case SPOOL_MESSAGE:
        envelope(r);
        break;
    case SPOOL_COPY:
        copy(r);
        break;
    case SPOOL_INTENT:
        if (spool_intent_decode(r, &intent) == 0) {
            inside(r->payload, intent.ordinals_wire);
            ordinals(intent.ordinals_wire, intent.nordinals);
        }
        break;
    case SPOOL_OUTCOME:
        if (spool_outcome_decode(r, &outcome) == 0) {
            inside(r->payload, outcome.text);
            inside(r->payload, outcome.ordinals_wire);
            ordinals(outcome.ordinals_wire, outcome.nordinals);
        }
        break;
    case SPOOL_VOID:
        if (spool_void_decode(r, &gap) == 0)
            ENSURE(gap.first <= gap.last);
        break;
    case SPOOL_SCOPE:
        if (spool_scope_decode(r, &scope) == 0) {
            inside(r->payload, scope.domain);
            inside(r->payload, scope.reason);
            inside(r->payload, scope.target);
        }
        break;
    default:
        break;
    }
}

/* First byte: what the rest is; 0 a whole directory, else one record's payload of that type. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct spool_record r = {0};
    size_t at = 0;

    if (n == 0)
        return 0;
    struct str rest = str_of(data + 1, n - 1);
    if (data[0] == 0) {
        while (spool_record_next(rest, &at, &r) == 1) {
            ENSURE(at <= rest.n);
            inside(rest, r.payload);
            one(&r);
        }
        return 0;
    }
    r.type = data[0] % 9;
    r.seq = 5;
    r.payload = rest;
    one(&r);
    return 0;
}
