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

const struct finding *
verdict_add(struct verdict *v, const struct finding *f)
{
    struct finding *copy = v->n < VERDICT_FINDINGS_MAX ? verdict_copy(v->arena, f) : NULL;
    bool acts = f->action != VERDICT_PASS && !f->observed;

    if (!copy) {
        v->lost++;
        if (!acts)
            return NULL;
        v->decisive = verdict_stronger(v->decisive, &verdict_no_room);
        return &verdict_no_room;
    }
    if (v->last)
        v->last->next = copy;
    else
        v->first = copy;
    v->last = copy;
    v->n++;
    if (!f->observed)
        v->sum += f->weight;
    if (acts)
        v->decisive = verdict_stronger(v->decisive, copy);
    return copy;
}

const char *
verdict_action_name(uint8_t action)
{
    static const char *const names[] = {"pass", "tempfail", "refuse"};

    return action < ARRAY_LEN(names) ? names[action] : "pass";
}
