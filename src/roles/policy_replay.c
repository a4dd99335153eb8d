/*
 * roles/policy_replay.c - events of judged mail are judged again, by another profile.
 *
 * Called by `gapura policy test` and by a test. What an event tells is all it goes by: findings
 * that a later version would make are not found again.
 */
#include <jansson.h>

#include "roles/policy.h"

#define REPLAY_ARENA_MAX (4u << 20)

static const char *
text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* The word of an action; PASS for what is none. */
static uint8_t
action_of(const char *word)
{
    for (unsigned a = VERDICT_TAG; a < VERDICT_ACTIONS_; a++) {
        if (!strcmp(word, verdict_action_name((uint8_t)a)))
            return (uint8_t)a;
    }
    return VERDICT_PASS;
}

static uint8_t
stage_of(const char *word)
{
    unsigned s = 0;

    while (s < STAGE_MAX_ && strcmp(word, stage_name(s)) != 0)
        s++;
    return (uint8_t)s;
}

/* What a check found; lines of the policy's own (ceilings) are made anew. */
static void
take_finding(struct verdict *v, const json_t *f)
{
    bool observed = json_is_true(json_object_get(f, "observed"));
    json_int_t weight = json_integer_value(json_object_get(f, "weight"));
    const char *group = json_string_value(json_object_get(f, "group"));

    if (!strcmp(text_of(f, "check"), "policy"))
        return;
    verdict_add(v, &(struct finding){
                       .check = text_of(f, "check"),
                       .name = text_of(f, "name"),
                       .group = group,
                       .input = str_c(text_of(f, "input")),
                       .weight = (int32_t)MIN(MAX(weight, -VERDICT_WEIGHT_MAX), VERDICT_WEIGHT_MAX),
                       .stage = stage_of(text_of(f, "stage")),
                       .action = action_of(text_of(f, observed ? "would" : "action")),
                       .observed = observed,
                   });
}

void
policy_replay(const struct profile *p, struct str line, struct policy_counts *counts,
              void (*changed)(void *ctx, struct str id, uint8_t was, int64_t was_score,
                              const struct judgement *now),
              void *ctx)
{
    json_t *event = json_loadb(line.p ? line.p : "", line.n, 0, NULL), *findings, *f;
    const char *type = text_of(event, "type"), *id = text_of(event, "id");
    struct verdict v;
    const struct verdict *const verdicts[] = {&v};
    struct judgement now;
    struct arena arena;
    uint8_t was;
    size_t i;

    findings = json_object_get(event, "findings");
    /* Nobody judges what logins and trusted networks send. */
    if (json_object_get(event, "user") || json_is_true(json_object_get(event, "trusted")) ||
        (strcmp(type, "Reception") != 0 && strcmp(type, "Rejection") != 0) ||
        !json_is_array(findings)) {
        counts->others++;
        json_decref(event);
        return;
    }
    arena_init(&arena, REPLAY_ARENA_MAX);
    verdict_init(&v, &arena);
    json_array_foreach(findings, i, f) take_finding(&v, f);
    was = action_of(text_of(event, "verdict"));
    if (verdict_judge(&now, &arena, p, verdicts, 1, 0) == 0) {
        counts->events++;
        counts->was[was]++;
        counts->would[now.action]++;
        if (was != now.action) {
            counts->changed++;
            changed(ctx, str_c(*id ? id : text_of(event, "session_id")), was,
                    json_integer_value(json_object_get(event, "score")), &now);
        }
    }
    arena_done(&arena);
    json_decref(event);
}
