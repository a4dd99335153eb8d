/*
 * policy/verdict.c - lists of findings, their sum and the one that decides.
 *
 * Called by the pipeline and by whoever reports a decision. Never acts on what it finds.
 */
#include "policy/verdict.h"

const struct finding verdict_no_room = {
    .check = "policy",
    .name = "no-room",
    .action = VERDICT_TEMPFAIL,
    .code = 451,
    .enhanced = "4.3.0",
    .text = {"Decision could not be recorded, try again later",
             sizeof("Decision could not be recorded, try again later") - 1},
};

void
verdict_init(struct verdict *v, struct arena *arena)
{
    *v = (struct verdict){.arena = arena};
}

const struct finding *
verdict_stronger(const struct finding *a, const struct finding *b)
{
    if (!a || !b)
        return a ? a : b;
    return b->action > a->action ? b : a;
}

/* False: no memory. */
static bool
copy_text(struct arena *arena, struct str text, struct str *ret)
{
    if (!text.n)
        return true;
    *ret = arena_str(arena, text);
    return ret->p != NULL;
}

static struct finding *
verdict_copy(struct arena *arena, const struct finding *f)
{
    struct finding *copy = ARENA_NEW(arena, struct finding);

    if (!copy)
        return NULL;
    *copy = *f;
    copy->next = NULL;
    if (!copy_text(arena, f->input, &copy->input) || !copy_text(arena, f->rule, &copy->rule) ||
        !copy_text(arena, f->list, &copy->list) || !copy_text(arena, f->text, &copy->text))
        return NULL;
    copy->weight = MIN(MAX(f->weight, -VERDICT_WEIGHT_MAX), VERDICT_WEIGHT_MAX);
    return copy;
}

static bool
finding_decides(const struct finding *f)
{
    return verdict_replies(f->action) && !f->observed;
}

/* Each recipient has room of its own, so that the first ones' findings take none from the rest. */
static bool
verdict_full(const struct verdict *v, const struct finding *f)
{
    if (f->rcpt)
        return f->rcpt == v->last_rcpt && v->rcpt_n >= VERDICT_RCPT_FINDINGS_MAX;
    return v->n >= VERDICT_FINDINGS_MAX;
}

static void
verdict_link(struct verdict *v, struct finding *f)
{
    if (v->last)
        v->last->next = f;
    else
        v->first = f;
    v->last = f;
    if (!f->rcpt) {
        v->n++;
    } else {
        v->rcpt_n = f->rcpt == v->last_rcpt ? v->rcpt_n + 1 : 1;
        v->last_rcpt = f->rcpt;
    }
    if (!f->observed)
        v->sum += f->weight;
    if (finding_decides(f))
        v->decisive = verdict_stronger(v->decisive, f);
}

const struct finding *
verdict_add(struct verdict *v, const struct finding *f)
{
    struct finding *copy = verdict_full(v, f) ? NULL : verdict_copy(v->arena, f);

    if (!copy) {
        v->lost++;
        v->missed += !f->observed;
        if (!finding_decides(f))
            return NULL;
        v->decisive = verdict_stronger(v->decisive, &verdict_no_room);
        return &verdict_no_room;
    }
    verdict_link(v, copy);
    return copy;
}

void
verdict_forget_since(struct verdict *v, unsigned stage, const struct finding *mark)
{
    struct finding *list = v->first, *next;
    bool behind = !mark;

    v->first = v->last = NULL;
    v->decisive = NULL;
    v->sum = 0;
    v->n = v->rcpt_n = 0;
    v->last_rcpt = 0;
    for (struct finding *f = list; f; f = next) {
        next = f->next;
        if (behind && f->stage == stage)
            continue;
        behind = behind || f == mark;
        f->next = NULL;
        verdict_link(v, f);
    }
}

void
verdict_forget(struct verdict *v, unsigned stage)
{
    verdict_forget_since(v, stage, NULL);
}

const char *
verdict_action_name(uint8_t action)
{
    static const char *const names[VERDICT_ACTIONS_] = {"pass", "tag", "hold", "tempfail",
                                                        "refuse"};

    return action < ARRAY_LEN(names) ? names[action] : "pass";
}

const char *
verdict_points(int64_t hundredths, char dst[32])
{
    uint64_t size = hundredths < 0 ? 0 - (uint64_t)hundredths : (uint64_t)hundredths;

    str_fmt(dst, 32, "%s%llu.%02u", hundredths < 0 ? "-" : "", (unsigned long long)(size / 100),
            (unsigned)(size % 100));
    return dst;
}
