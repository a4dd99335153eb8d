/*
 * policy/verdict.c - lists of findings, their sum and the one that decides.
 *
 * Called by the pipeline and by whoever reports a decision. Never acts on what it finds.
 */
#include "policy/verdict.h"

/* Stands for a finding that found no room: see verdict_add. */
static const struct finding verdict_no_room = {
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

static struct finding *
verdict_copy(struct arena *arena, const struct finding *f)
{
    struct finding *copy = ARENA_NEW(arena, struct finding);

    if (!copy)
        return NULL;
    *copy = *f;
    copy->next = NULL;
    copy->rule = arena_str(arena, f->rule);
    copy->text = arena_str(arena, f->text);
    return (copy->rule.p && copy->text.p) ? copy : NULL;
}

static bool
finding_acts(const struct finding *f)
{
    return f->action != VERDICT_PASS && !f->observed;
}

static void
verdict_link(struct verdict *v, struct finding *f)
{
    if (v->last)
        v->last->next = f;
    else
        v->first = f;
    v->last = f;
    v->n++;
    if (!f->observed)
        v->sum += f->weight;
    if (finding_acts(f))
        v->decisive = verdict_stronger(v->decisive, f);
}

const struct finding *
verdict_add(struct verdict *v, const struct finding *f)
{
    struct finding *copy = v->n < VERDICT_FINDINGS_MAX ? verdict_copy(v->arena, f) : NULL;

    if (!copy) {
        v->lost++;
        if (!finding_acts(f))
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
    v->n = 0;
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
    static const char *const names[] = {"pass", "tempfail", "refuse"};

    return action < ARRAY_LEN(names) ? names[action] : "pass";
}
