/*
 * mail/dsn_text.c - recipients and their fate in text that was written for people.
 *
 * Called by mail/dsn for reports without machine fields (dsn_text_read) and for what those leave
 * out (dsn_text_fill). One law for all servers: lines are searched for recipients in the ways
 * below, the surest way that found any counts, and what stands between one recipient and the next
 * explains the first. Words that differ from server to server are rows in mail/dsn_shapes.c.
 */
#include <limits.h>

#include "mail/dsn_lines.h"

#define CANDS_MAX   2000u
#define LIST_LINES  3u  /* lines of other text that a list of recipients may hold */
#define ABOUT_LEAST 10u /* bytes that can be a reason */
#define SAME_LEAST  20u /* bytes of a reply that make it known again */
#define FIELD_LEAST 4u  /* letters of a field's name with colon, or of marks, beside an address */

/* --- candidates --- */

enum way {            /* surest first */
           WAY_HEAD,  /* leads a line with a mark behind it, or stands in an announced list */
           WAY_TELLS, /* behind words that announce a recipient */
           WAY_BARE,  /* alone on a line */
           WAY_ANY,   /* anywhere: counts if the text names but one */
           WAYS
};
struct cand {
    struct str address;
    unsigned line, last; /* its line; one past the lines about it */
    size_t after;        /* offset in its line behind it */
    enum way way;
    struct str own, cause; /* what stands about it; .p NULL: not gathered yet */
    enum dsn_phase phase;  /* that it tells */
};
struct search {
    const struct dsn_lines *lines;
    struct dsn_list *list;
    struct cand *items;
    unsigned n;
    struct map chosen; /* cands by address */
    bool *named;       /* by line: a chosen one stands there */
    unsigned above_at; /* the paragraph above which was gathered last, and what it says */
    struct str above_says;
    unsigned list_left; /* lines in which an announced list may go on */
    unsigned indent;    /* of the recipient before */
    bool open;          /* lines that are indented deeper are about the recipient before */
};

static struct str
without_bullet(struct str s, size_t *skipped)
{
    struct str was = s;

    while (s.n && strchr("*-+>.|\"'", s.p[0]))
        s = str_from(s, 1);
    while (s.n && strchr(" \t", s.p[0]))
        s = str_from(s, 1);
    *skipped = was.n - s.n;
    return s;
}

/* Is what stands behind a leading address such that the line is about that recipient? */
static bool
marked(struct str rest)
{
    static const char *const marks[] = {
        "...", ":", " on ", "[", "(", "invalid address", "error,", "delivery failed", "failed"};

    while (rest.n && strchr(",>\"'", rest.p[0]))
        rest = str_from(rest, 1);
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        struct str mark = str_c(marks[i]);
        struct str s = mark.p[0] == ' ' ? rest : str_trim(rest);

        if (!dsn_ifind(str_sub(s, 0, mark.n), 0, mark))
            return true;
    }
    return false;
}

static void
cand_add(struct search *s, struct str address, unsigned line, size_t after, enum way way)
{
    if (s->n >= CANDS_MAX)
        return;
    s->items[s->n++] = (struct cand){
        .address = address, .line = line, .last = line + 1, .after = after, .way = way};
    s->indent = s->lines->items[line].indent;
    s->open = true;
}

/* The line begins with an address: a recipient? */
static bool
look_head(struct search *s, unsigned i)
{
    const struct dsn_line *line = &s->lines->items[i];
    size_t start, end, skipped;
    struct str address, rest, body = without_bullet(line->s, &skipped);
    bool deeper_next = i + 1 < s->lines->n && s->lines->items[i + 1].s.n &&
                       s->lines->items[i + 1].indent > line->indent;

    if (!dsn_address_find(body, 0, &start, &end, &address) || start)
        return false;
    if (s->open && line->indent > s->indent && s->lines->items[i - 1].s.n)
        return false; /* within the words about the one before */
    rest = str_from(body, end);
    if (marked(rest) || (!str_trim(rest).n && (s->list_left || deeper_next)) ||
        (s->list_left && rest.n && strchr(" (<,", rest.p[0])))
        cand_add(s, address, i, skipped + end, WAY_HEAD);
    else if (!str_trim(rest).n)
        cand_add(s, address, i, skipped + end, WAY_BARE);
    else
        return false;
    if (s->list_left)
        s->list_left = LIST_LINES;
    return true;
}

/* Words that announce a recipient, in this line or just before it. */
static bool
look_tells(struct search *s, unsigned i)
{
    struct str line = s->lines->items[i].s, address;
    size_t behind = 0, start, end;

    if (!dsn_shape_in(DSN_TELLS, line, &behind) ||
        !dsn_address_find(line, behind, &start, &end, &address) || start - behind >= 40)
        return false;
    cand_add(s, address, i, end, WAY_TELLS);
    return true;
}

static void
look_any(struct search *s, unsigned i)
{
    static const char *const offices[] = {"postmaster@", "mailer-daemon@", "support@", "abuse@",
                                          "help@",       "admin@",         "helpdesk@"};
    struct str line = s->lines->items[i].s, address;
    size_t start, end;

    if (!dsn_address_find(line, 0, &start, &end, &address))
        return;
    for (size_t k = 0; k < ARRAY_LEN(offices); k++)
        if (!dsn_ifind(str_sub(address, 0, strlen(offices[k])), 0, str_c(offices[k])))
            return;
    cand_add(s, address, i, end, WAY_ANY);
    s->open = false;
}

static void
search_done(struct search *s)
{
    map_done(&s->chosen);
}

static bool
search_run(struct search *s, const struct dsn_lines *lines, struct dsn_list *list)
{
    *s = (struct search){.lines = lines, .list = list, .above_at = UINT_MAX};
    map_init(&s->chosen, CANDS_MAX + 1, true);
    s->items = ARENA_ARRAY(list->arena, struct cand, CANDS_MAX);
    s->named = ARENA_ARRAY(list->arena, bool, lines->all + 1);
    if (!s->items || !s->named)
        return false;
    memset(s->named, 0, lines->all + 1);
    for (unsigned i = 0; i < lines->n; i++) {
        struct str line = lines->items[i].s;
        unsigned fields = dsn_fields_here(lines, i);

        if (!line.n)
            continue;
        if (fields >= 2) { /* of a message that is quoted in front of the words about it */
            i += fields - 1;
            continue;
        }
        if (dsn_shape_in(DSN_SECTION, line, NULL)) {
            s->open = false;
            s->list_left = 0;
            if (dsn_ifind(line, 0, STR("transcript of session")) >= 0)
                break;
            continue;
        }
        if (look_head(s, i))
            continue;
        if (!look_tells(s, i))
            look_any(s, i);
        if (dsn_shape_in(DSN_LIST, line, NULL))
            s->list_left = LIST_LINES + 1;
        else if (s->list_left)
            s->list_left--;
    }
    return true;
}

/* A line drawn of signs. */
static bool
is_rule(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!strchr("-=*_|#.", s.p[i]))
            return false;
    return true;
}

/* What is said about a recipient ends before the next one, before another section, and where the
 * indentation of its list ends behind a blank line. */
static void
block_end(const struct search *s, struct cand *c, unsigned end)
{
    const struct dsn_line *items = s->lines->items;
    bool said = str_trim(str_from(items[c->line].s, c->after)).n > 1;

    for (unsigned k = c->line + 1; k < end; k++) {
        if (!items[k].s.n || is_rule(items[k].s) || dsn_shape_in(DSN_NOISE, items[k].s, NULL))
            continue;
        if (dsn_shape_in(DSN_SECTION, items[k].s, NULL) ||
            (said && !items[k - 1].s.n && items[k].indent < items[c->line].indent))
            return;
        said = true;
        c->last = k + 1;
    }
}

/* Leaves the recipients of the surest way, each once; the sender only if nobody else is there. */
static void
search_choose(struct search *s, struct str failed, struct str sender)
{
    unsigned n = 0, others = 0, named = 0;
    enum way best = WAYS;

    for (unsigned i = 0; i < s->n; i++)
        best = MIN(best, s->items[i].way);
    for (unsigned i = 0; i < s->n; i++) {
        others += s->items[i].way == best && !str_ieq(s->items[i].address, sender);
        named += s->items[i].way == best && failed.n && str_find(failed, s->items[i].address) >= 0;
    }
    for (unsigned i = 0; i < s->n; i++) {
        struct cand c = s->items[i];

        if (map_get(&s->chosen, c.address) || c.way != best ||
            (others && str_ieq(c.address, sender)) || (named && str_find(failed, c.address) < 0))
            continue;
        s->items[n] = c;
        (void)map_put(&s->chosen, c.address, &s->items[n]);
        s->named[c.line] = true;
        n++;
    }
    s->n = best == WAY_ANY && (n > 1 || !others || failed.n) ? 0 : n;
    for (unsigned i = 0; i < s->n; i++)
        block_end(s, &s->items[i], i + 1 < n ? s->items[i + 1].line : s->lines->n);
}

/* --- what stands about a recipient --- */

/* Lines [from, to) without those that tell nothing, and from the words that announce a reason. */
static struct str
about(struct dsn_list *list, const struct dsn_lines *l, unsigned from, size_t at, unsigned to)
{
    struct buf out;
    struct str s, ret;
    bool blank = false;

    buf_init(&out, 64u << 10);
    for (unsigned i = from; i < to; i++) {
        s = l->items[i].s;
        list->steps += s.n + 1;
        if (i == from)
            s = str_from(s, at);
        if (i == from && at && s.n && strchr("\"'", s.p[0])) /* of the address in front */
            s = str_from(s, 1);
        while (i == from && s.n && strchr(":>.*) \t", s.p[0]))
            s = str_from(s, 1);
        blank |= !s.n;
        if (!s.n || dsn_shape_in(DSN_NOISE, s, NULL) || is_rule(s))
            continue;
        if (out.n)
            buf_c(&out, blank ? "\n\n" : "\n");
        blank = false;
        buf_str(&out, s);
    }
    ret = arena_str(list->arena, buf_view(&out));
    buf_done(&out);
    return ret;
}

/* All that is said, from behind the line that announces recipients if something stands there. */
static struct str
about_all(struct dsn_list *list, const struct dsn_lines *l)
{
    unsigned from = 0;
    struct str s;

    for (unsigned i = 0; i < l->n && !from; i++)
        if (dsn_shape_in(DSN_LIST, l->items[i].s, NULL))
            from = i + 1;
    s = about(list, l, from, 0, l->n);
    return s.n > ABOUT_LEAST || !from ? s : about(list, l, 0, 0, l->n);
}

static struct str
from_cause(struct str text)
{
    size_t end;

    if (!dsn_shape_in(DSN_CAUSE, text, &end))
        return text;
    return str_trim(str_from(text, end)).n < 4 ? STR_NONE : str_from(text, end);
}

static void
explain_spoken(struct dsn_list *list, struct dsn_outcome *o, const struct dsn_spoken *spoken)
{
    if (!spoken)
        return;
    if (o->phase == DSN_PHASE_UNKNOWN)
        o->phase = spoken->phase;
    dsn_explain(list, o, spoken->reply);
}

/* A text about it: the reply in it, else its words from the reason on. */
static void
explain_text(struct dsn_list *list, struct dsn_outcome *o, struct str text)
{
    struct dsn_said said;

    if (list->about.p != text.p || list->about.n != text.n) {
        list->steps += text.n;
        dsn_said_find(text, &said);
        list->about = text;
        list->cause = said.code ? text : from_cause(text);
    }
    dsn_explain(list, o, list->cause);
}

/* The paragraph that ends just above a line, without lines of other recipients. */
static struct str
above(struct search *s, unsigned line)
{
    const struct dsn_line *items = s->lines->items;
    unsigned from = line;

    while (from && !items[from - 1].s.n)
        from--;
    line = from;
    if (s->above_at == line)
        return s->above_says;
    while (from && items[from - 1].s.n && !s->named[from - 1])
        from--;
    s->above_at = line;
    s->above_says = about(s->list, s->lines, from, 0, line);
    return s->above_says;
}

/* The words about a recipient: behind it, or above it where a report puts them there. */
static struct str
own_words(struct search *s, const struct cand *c)
{
    const struct cand *last = &s->items[s->n - 1];
    struct str line = s->lines->items[c->line].s, own, up;
    size_t at = c->way == WAY_TELLS || c->way == WAY_ANY ? 0 : c->after;

    if (!dsn_ifind(str_sub(str_from(line, at), 0, 4), 0, STR(" on ")))
        at = line.n; /* "a@b on Thu, 29 Apr": a date says nothing */
    own = about(s->list, s->lines, c->line, at, c->last);
    if (s->n > 1 && last->last == last->line + 1 &&
        str_trim(str_from(s->lines->items[last->line].s, last->after)).n < 2) {
        up = above(s, c->line); /* nothing stands behind the last one */
        return up.n ? up : own;
    }
    return own;
}

/* "To: a@b": whom, and nothing about it. */
static bool
names_only(struct str own, struct str address)
{
    size_t n = 0;

    for (size_t i = 0; i < own.n && n <= address.n + FIELD_LEAST + 2u; i++)
        n += (unsigned char)own.p[i] > ' ';
    return n <= address.n + FIELD_LEAST;
}

static void
outcome_of(struct search *s, const struct cand *c, const struct dsn_speech *speech)
{
    struct dsn_list *list = s->list;
    const struct dsn_lines *l = s->lines;
    struct dsn_outcome *o = dsn_list_add(list);
    const struct dsn_spoken *spoke = dsn_speech_of(speech, c->address);
    struct dsn_said said;
    struct str own, all;

    if (!o)
        return;
    own = own_words(s, c);
    if (s->n == 1 && c->way != WAY_HEAD && names_only(own, c->address))
        own = STR_NONE;
    o->final = arena_str(list->arena, c->address);
    list->steps += own.n;
    dsn_said_find(own, &said);
    if (!said.code)
        explain_spoken(list, o, spoke);
    if (!o->reply.n && own.n > 3)
        explain_text(list, o, own);
    if (spoke && spoke->address.n && o->phase == DSN_PHASE_UNKNOWN)
        o->phase = spoke->phase;
    if (s->n > 1 || o->code)
        return;
    all = about(list, l, 0, 0, l->n); /* all that is said is about it */
    dsn_said_find(all, &said);
    if (said.code) {
        o->reply = STR_NONE;
        explain_text(list, o, all);
    } else if (!o->reply.n) {
        explain_text(list, o, about(list, l, 0, 0, c->line + 1));
    }
}

/* Recipients that only a header names, or that the returned message was for. */
static void
outcomes_of_header(struct dsn_list *list, const struct dsn_lines *l, struct str addresses,
                   const struct dsn_speech *speech)
{
    size_t at = 0, start, end;
    struct str address, all = about_all(list, l);
    struct map seen;

    map_init(&seen, list->limits->rcpts + 1u, true);
    while (dsn_address_find(addresses, at, &start, &end, &address)) {
        struct dsn_outcome *o;

        list->steps += end - at;
        at = end;
        if (map_get(&seen, address) || !(o = dsn_list_add(list)))
            continue;
        (void)map_put(&seen, address, list);
        o->final = arena_str(list->arena, address);
        explain_spoken(list, o, dsn_speech_of(speech, address));
        if (!o->reply.n)
            explain_text(list, o, all);
    }
    map_done(&seen);
}

/* Recipients that only the transcript names. */
static void
outcomes_of_speech(struct dsn_list *list, const struct dsn_speech *speech)
{
    for (unsigned i = 0; i < speech->n; i++) {
        const struct dsn_spoken *one = &speech->items[i];
        struct dsn_outcome *o;

        if (!one->address.n || dsn_speech_of(speech, one->address) != one ||
            !(o = dsn_list_add(list)))
            continue;
        o->final = one->address;
        explain_spoken(list, o, one);
    }
}

void
dsn_text_read(struct dsn_list *list, const struct dsn_parts *parts, struct str sender)
{
    struct str failed = dsn_field(parts->head, "X-Failed-Recipients", list->arena);
    struct dsn_speech speech;
    struct dsn_lines lines;
    struct search s;

    dsn_lines_split(&lines, parts->text, list->arena);
    dsn_speech_read(&speech, &lines, list->arena);
    if (search_run(&s, &lines, list)) {
        search_choose(&s, failed, sender);
        for (unsigned i = 0; i < s.n; i++)
            outcome_of(&s, &s.items[i], &speech);
        if (!s.n)
            outcomes_of_speech(list, &speech);
        if (!list->n)
            outcomes_of_header(list, &lines, failed, &speech);
        if (!list->n)
            outcomes_of_header(list, &lines, dsn_field(parts->original, "To", list->arena),
                               &speech);
        if (!list->n && dsn_kind_weight(parts) >= DSN_WEIGHT_SURE) {
            struct dsn_outcome *o = dsn_list_add(list); /* whom, where it came to may tell */

            if (o)
                explain_text(list, o, about_all(list, &lines));
        }
    }
    search_done(&s);
    dsn_speech_done(&speech);
}

/* Does the text begin with these letters, white space apart? */
static bool
begins_alike(struct str text, struct str letters)
{
    size_t i = 0;

    for (size_t k = 0; k < letters.n; k++) {
        if ((unsigned char)letters.p[k] <= ' ')
            continue;
        while (i < text.n && (unsigned char)text.p[i] <= ' ')
            i++;
        if (i >= text.n || text.p[i++] != letters.p[k])
            return false;
    }
    return true;
}

/* Fields are cut or broken within words by some; the text for people may have it whole. Where there
 * are many recipients only what was said of this one is looked at. */
static void
made_whole(struct dsn_list *list, struct dsn_outcome *o, struct str own,
           const struct dsn_speech *speech)
{
    const struct dsn_spoken *spoke = dsn_speech_of(speech, o->final);
    const struct dsn_spoken *items = list->n == 1 ? speech->items : spoke;
    unsigned n = list->n == 1 ? speech->n : spoke != NULL;
    struct str better = STR_NONE;

    if (o->reply.n < SAME_LEAST)
        return;
    for (unsigned i = 0; i < n && !better.n; i++) {
        list->steps += o->reply.n;
        if (items[i].reply.n > o->reply.n && begins_alike(items[i].reply, o->reply))
            better = items[i].reply;
    }
    if (!better.n && !o->code && begins_alike(own, o->reply))
        better = own;
    if (better.n)
        o->reply = dsn_one_line(better, list->limits->reply, list->arena);
}

/* What one recipient of the text tells of one of the fields. */
static void
fill_from(struct search *s, struct cand *c, struct dsn_outcome *o, bool whole,
          const struct dsn_speech *speech)
{
    if (!c->own.p) {
        c->own = about(s->list, s->lines, c->line, c->after, c->last);
        c->cause = from_cause(c->own);
        c->phase = dsn_phase_of(c->own, 0);
    }
    made_whole(s->list, o, c->cause, speech);
    if (!whole)
        explain_text(s->list, o, c->own);
    else if (o->phase == DSN_PHASE_UNKNOWN)
        o->phase = c->phase;
}

static void
fill_outcome(struct search *s, struct dsn_outcome *o, const struct dsn_speech *speech)
{
    struct dsn_list *list = s->list;
    const struct dsn_spoken *spoke = dsn_speech_of(speech, o->final);
    bool whole = o->reply.n && o->code; /* only where it was said is missing */
    struct cand *first, *second;

    if (s->n > 1 || list->n > 1) {
        first = o->final.n ? map_get(&s->chosen, o->final) : NULL;
        second = o->original.n ? map_get(&s->chosen, o->original) : NULL;
    } else {
        first = s->n ? &s->items[0] : NULL;
        second = NULL;
    }
    if (first && s->n)
        fill_from(s, first, o, whole, speech);
    if (second && second != first && s->n)
        fill_from(s, second, o, whole, speech);
    if (whole) {
        if (o->phase == DSN_PHASE_UNKNOWN && spoke)
            o->phase = spoke->phase;
        return;
    }
    explain_spoken(list, o, spoke);
    if (!o->reply.n && list->n == 1)
        explain_text(list, o, about(list, s->lines, 0, 0, s->lines->n));
}

void
dsn_text_fill(struct dsn_list *list, const struct dsn_parts *parts)
{
    struct dsn_speech speech;
    struct dsn_lines lines;
    struct search s;

    dsn_lines_split(&lines, parts->text, list->arena);
    dsn_speech_read(&speech, &lines, list->arena);
    if (search_run(&s, &lines, list)) {
        search_choose(&s, STR_NONE, STR_NONE);
        for (unsigned i = 0; i < list->n; i++)
            fill_outcome(&s, &list->items[i], &speech);
    }
    search_done(&s);
    dsn_speech_done(&speech);
}
