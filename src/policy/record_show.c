/*
 * policy/record_show.c - decision records as text for people and as JSON for programs.
 *
 * Called by explain and by whoever writes events. Never decides, never leaves a line out: the sum
 * of what is shown is the total that is shown.
 */
#include "policy/record.h"
#include "policy/record_inner.h"

/* ---- text ---- */

/* "recipients 0, 3-5" */
static void
text_recipients(struct buf *out, const struct record *r, unsigned number)
{
    const char *before = "";
    uint32_t n = 0;

    for (uint32_t i = 0; i < r->nof; i++)
        n += r->of[i] == number;
    buf_c(out, n == 1 ? " for recipient " : " for recipients ");
    for (uint32_t i = 0; i < r->nof; i++) {
        uint32_t last = i;

        if (r->of[i] != number)
            continue;
        while (last + 1 < r->nof && r->of[last + 1] == number)
            last++;
        buf_fmt(out, last > i ? "%s%u-%u" : "%s%u", before, i, last);
        before = ", ";
        i = last;
    }
}

void
record_text_safe(struct buf *out, struct str s)
{
    size_t from = out->n;

    buf_str(out, s);
    if (!out->failed)
        str_defuse(out->p + from, s.n);
}

static void
text_name(struct buf *out, const struct record_finding *f)
{
    record_text_safe(out, f->check);
    buf_char(out, '.');
    record_text_safe(out, f->name);
}

static void
text_finding(struct buf *out, const struct record_finding *f, bool observed)
{
    text_name(out, f);
    if (f->input.n) {
        buf_c(out, ": ");
        record_text_safe(out, f->input);
    }
    if (f->rule.n && !str_eq(f->rule, f->input)) {
        buf_c(out, f->input.n ? ", by " : ": ");
        record_text_safe(out, f->rule);
    }
    if (f->list.n) {
        buf_c(out, " of ");
        record_text_safe(out, f->list);
    }
    if (f->action != VERDICT_PASS)
        buf_fmt(out, observed ? "; would %s" : "; says %s", verdict_action_name(f->action));
    if (observed)
        buf_c(out, "; observed");
}

static void
text_ceiling(struct buf *out, const struct record *r, const struct record_line *line)
{
    buf_c(out, "cut off: ceiling of the group ");
    if (line->group < r->ngroups)
        record_text_safe(out, r->groups[line->group]);
    if (line->observed)
        buf_c(out, "; observed");
}

static void
text_line(struct buf *out, const struct record *r, const struct record_line *line)
{
    char points[32], room[40];

    verdict_points(line->weight, points);
    str_fmt(room, sizeof(room), line->observed ? "(%s)" : "%s", points);
    buf_fmt(out, "%9s  ", room);
    if (line->finding == RECORD_REST)
        buf_c(out, "findings that have no room here");
    else if (line->finding == RECORD_CEILING)
        text_ceiling(out, r, line);
    else
        text_finding(out, &r->findings[line->finding], line->observed);
}

static void
text_by(struct buf *out, const struct record *r, uint8_t by)
{
    if (by == RECORD_BY_NO_ROOM)
        buf_c(out, ", since findings found no room");
    if (by >= r->nfindings)
        return;
    buf_c(out, ", since ");
    text_name(out, &r->findings[by]);
    buf_c(out, " says so");
}

static void
text_profile(struct buf *out, const struct record_verdict *v)
{
    const char *before = " (";
    char points[32];

    if (!v->profile.n) {
        buf_c(out, ", no profile");
        return;
    }
    buf_c(out, ", profile ");
    record_text_safe(out, v->profile);
    for (unsigned i = VERDICT_TAG; i < VERDICT_ACTIONS_; i++) {
        if (v->thresholds[i] == CONF_POINTS_NONE)
            continue;
        buf_fmt(out, "%s%s from %s", before, verdict_action_name((uint8_t)i),
                verdict_points(v->thresholds[i], points));
        before = ", ";
    }
    if (before[0] == ',')
        buf_c(out, ")");
    if (v->observe)
        buf_c(out, ", only observed");
}

static bool
verdict_differs(const struct record_verdict *v)
{
    return v->would != v->action || v->would_total != v->total;
}

static void
text_verdict(struct buf *out, const struct record *r, unsigned number, const char *indent)
{
    const struct record_verdict *v = &r->verdicts[number];
    char points[32];

    buf_c(out, "verdict");
    if (r->nof)
        text_recipients(out, r, number);
    buf_fmt(out, ": %s at %s", verdict_action_name(v->action), verdict_points(v->total, points));
    text_by(out, r, v->by);
    text_profile(out, v);
    if (v->applied != v->action)
        buf_fmt(out, "; it became %s, since other recipients' verdicts take the message",
                verdict_action_name(v->applied));
    for (unsigned i = 0; i < v->nlines; i++) {
        buf_c(out, indent);
        text_line(out, r, &v->lines[i]);
    }
    if (v->missed)
        buf_fmt(out, "%s%9s  %u more found no room", indent, "", v->missed);
    if (!verdict_differs(v))
        return;
    buf_fmt(out, "%swith all that is only observed: %s at %s", indent,
            verdict_action_name(v->would), verdict_points(v->would_total, points));
    text_by(out, r, v->would_by);
}

void
record_text(struct buf *out, const struct record *r, const char *indent)
{
    for (unsigned i = 0; i < r->nverdicts; i++) {
        if (i)
            buf_c(out, indent);
        text_verdict(out, r, i, indent);
    }
    if (!r->nverdicts)
        buf_c(out, "nothing was found for or against it");
    if (r->untold)
        buf_fmt(out, "%smore recipients and verdicts than have room here", indent);
    for (unsigned i = 0; i < r->nspf; i++)
        record_spf_text(out, &r->spf[i], indent);
}

/* ---- JSON ---- */

static void
json_i64(struct buf *out, int64_t v)
{
    if (v < 0)
        buf_char(out, '-');
    buf_u64(out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

static void
json_member(struct buf *out, const char *key, struct str value)
{
    if (!value.n)
        return;
    buf_char(out, '"');
    buf_c(out, key);
    buf_c(out, "\":");
    buf_json(out, value);
    buf_char(out, ',');
}

void
record_json_line(struct buf *out, const struct record *r, const struct record_line *line)
{
    const struct record_finding *f =
        line->finding < r->nfindings ? &r->findings[line->finding] : NULL;

    buf_char(out, '{');
    if (f) {
        json_member(out, "stage", str_c(stage_name(f->stage)));
        json_member(out, "check", f->check);
        json_member(out, "name", f->name);
        json_member(out, "input", f->input);
        json_member(out, "rule", f->rule);
        json_member(out, "list", f->list);
    } else {
        json_member(out, "check", STR("policy"));
        json_member(out, "name", line->finding == RECORD_REST ? STR("rest") : STR("ceiling"));
    }
    if (line->group < r->ngroups && (!f || !str_eq(r->groups[line->group], f->check)))
        json_member(out, "group", r->groups[line->group]);
    buf_c(out, "\"weight\":");
    json_i64(out, line->weight);
    if (line->observed)
        buf_c(out, ",\"observed\":true");
    if (f && f->action != VERDICT_PASS)
        buf_fmt(out, ",\"%s\":\"%s\"", line->observed ? "would" : "action",
                verdict_action_name(f->action));
    buf_char(out, '}');
}

void
record_json_head(struct buf *out, const struct record_verdict *v)
{
    buf_c(out, "\"score\":");
    json_i64(out, v->total);
    buf_fmt(out, ",\"verdict\":\"%s\"", verdict_action_name(v->action));
    if (v->applied != v->action)
        buf_fmt(out, ",\"applied\":\"%s\"", verdict_action_name(v->applied));
    if (v->profile.n) {
        buf_c(out, ",\"profile\":");
        buf_json(out, v->profile);
    }
    if (v->observe)
        buf_c(out, ",\"observe\":true");
    if (v->missed)
        buf_fmt(out, ",\"missed\":%u", v->missed);
    if (!verdict_differs(v))
        return;
    buf_c(out, ",\"would\":{\"score\":");
    json_i64(out, v->would_total);
    buf_fmt(out, ",\"verdict\":\"%s\"}", verdict_action_name(v->would));
}

void
record_json(struct buf *out, const struct record *r, const struct record_verdict *v)
{
    record_json_head(out, v);
    buf_c(out, ",\"findings\":[");
    for (unsigned i = 0; i < v->nlines; i++) {
        if (i)
            buf_char(out, ',');
        record_json_line(out, r, &v->lines[i]);
    }
    buf_char(out, ']');
}
