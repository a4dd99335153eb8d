/*
 * policy/profile_read.c - blocks of settings and the shipped files become profiles.
 *
 * Called by profile_set_build's callers through it, at a start, a reload and by `gapura check`.
 * Gathers every mistake with its place; never stops at the first, never opens a file.
 */
#include "core/crc32c.h"
#include "core/err.h"
#include "policy/profile_inner.h"

#define SET_ARENA_MAX (64u << 20)

enum source_state { SOURCE_NEW, SOURCE_READING, SOURCE_READ };
struct source { /* a block, shipped or of the settings */
    const struct conf_section *section;
    struct profile *profile;
    uint8_t state; /* enum source_state */
    bool shipped;
};
struct reader {
    struct profile_set *set;
    struct conf_errors *errs;
    const struct check *const *checks;
    size_t nchecks;
    struct source *sources;
    size_t nsources;
};

#define SHOWN(s) (int)MIN((s).n, (size_t)80), (s).p ? (s).p : ""

/* ---- names ---- */

static const char *
check_name(const void *ctx, size_t i)
{
    return ((const struct reader *)ctx)->checks[i]->name;
}

static const char *
finding_name(const void *ctx, size_t i)
{
    return ((const char *const *)ctx)[i];
}

static const struct check *
check_find_name(const struct reader *r, struct str name)
{
    for (size_t i = 0; i < r->nchecks; i++) {
        if (str_eq(str_c(r->checks[i]->name), name))
            return r->checks[i];
    }
    return NULL;
}

/* CHECK.FINDING or CHECK.* of what there is? Else it is told. */
static bool
pattern_good(const struct reader *r, const struct conf_line *at, struct str pattern)
{
    struct str name, check = str_cut(pattern, '.', &name);
    const struct check *c;
    char hint[96];
    size_t n = 0;

    if (!check.n || !name.n || str_chr(name, '.') >= 0 || (str_chr(name, '*') >= 0 && name.n > 1)) {
        conf_fail(r->errs, at->file, at->line,
                  "`%.*s` names no finding; write CHECK.FINDING or CHECK.*, as in helo.localhost",
                  SHOWN(pattern));
        return false;
    }
    if (!r->nchecks)
        return true;
    c = check_find_name(r, check);
    if (!c) {
        conf_fail(r->errs, at->file, at->line, "there is no check `%.*s`%s", SHOWN(check),
                  conf_hint(conf_nearest(check, check_name, r, r->nchecks), hint));
        return false;
    }
    if (!c->findings || str_eq(name, STR("*")))
        return true;
    for (; c->findings[n]; n++) {
        if (str_eq(str_c(c->findings[n]), name))
            return true;
    }
    conf_fail(r->errs, at->file, at->line, "the check `%s` has no finding `%.*s`%s", c->name,
              SHOWN(name), conf_hint(conf_nearest(name, finding_name, c->findings, n), hint));
    return false;
}

/* ---- rows ---- */

/* The row of that pattern, a new one if need be; the array has room. */
static void *
row_put(void *rows, size_t *n, size_t size, struct str pattern)
{
    size_t at = profile_row_at(rows, *n, size, pattern);
    char *row = (char *)rows + at * size;

    if (at == *n || !str_eq(*(struct str *)(void *)row, pattern)) {
        memmove(row + size, row, (*n - at) * size);
        (*n)++;
    }
    *(struct str *)(void *)row = pattern;
    return row;
}

static void
read_weight(struct reader *r, struct profile *p, const struct conf_line *line)
{
    struct str rest = line->text, pattern = str_word(&rest), points = str_word(&rest);
    struct profile_weight *row;
    int64_t value;

    if (str_points(points, &value) < 0 || str_trim(rest).n) {
        conf_fail(r->errs, line->file, line->line,
                  "`weight`: `%.*s` is not CHECK.FINDING POINTS; write for example helo.localhost "
                  "1.5",
                  SHOWN(line->text));
        return;
    }
    if (value > VERDICT_WEIGHT_MAX || value < -VERDICT_WEIGHT_MAX) {
        conf_fail(r->errs, line->file, line->line,
                  "`weight`: %.*s points are too many; the most is 1000, above and below",
                  SHOWN(points));
        return;
    }
    if (!pattern_good(r, line, pattern))
        return;
    row = row_put(p->weights, &p->nweights, sizeof(*p->weights), pattern);
    row->weight = (int32_t)value;
    row->at = (struct profile_place){line->file, line->line};
}

/* -1: there are too many. */
static int
group_number(struct reader *r, struct profile *p, const struct conf_line *line, struct str name)
{
    for (size_t i = 0; i < p->ngroups; i++) {
        if (str_eq(p->groups[i].name, name))
            return (int)i;
    }
    if (p->ngroups == PROFILE_GROUPS_MAX || name.n > PROFILE_NAME_MAX) {
        conf_fail(r->errs, line->file, line->line,
                  "`group`: a profile has at most %u groups, and a name at most %u bytes",
                  PROFILE_GROUPS_MAX, PROFILE_NAME_MAX);
        return -1;
    }
    p->groups[p->ngroups].name = name;
    return (int)p->ngroups++;
}

static bool
read_bound(struct str text, int64_t none, int64_t *ret)
{
    if (!str_ieq(text, STR("none")))
        return str_points(text, ret) == 0;
    *ret = none;
    return true;
}

static void
read_group(struct reader *r, struct profile *p, const struct conf_line *line)
{
    struct str rest = line->text, name = str_word(&rest), low = str_word(&rest),
               high = str_word(&rest);
    struct profile_member *row;
    int64_t least, most;
    int number;

    if (!name.n || !read_bound(low, -CONF_POINTS_NONE, &least) ||
        !read_bound(high, CONF_POINTS_NONE, &most)) {
        conf_fail(r->errs, line->file, line->line,
                  "`group`: `%.*s` is not NAME LEAST MOST FINDINGS; write for example names -1 4 "
                  "helo.* reverse.*",
                  SHOWN(line->text));
        return;
    }
    if (least > 0 || most < 0) {
        conf_fail(r->errs, line->file, line->line,
                  "`group`: a group that found nothing weighs 0: LEAST is at most 0 and MOST at "
                  "least 0 (here %.*s and %.*s)",
                  SHOWN(low), SHOWN(high));
        return;
    }
    number = group_number(r, p, line, name);
    if (number < 0)
        return;
    p->groups[number].least = least;
    p->groups[number].most = most;
    p->groups[number].at = (struct profile_place){line->file, line->line};
    while ((rest = str_trim(rest)).n) {
        struct str pattern = str_word(&rest);

        if (!pattern_good(r, line, pattern))
            continue;
        row = row_put(p->members, &p->nmembers, sizeof(*p->members), pattern);
        row->group = (unsigned)number;
        row->at = (struct profile_place){line->file, line->line};
    }
}

/* ---- one profile ---- */

static void
put_bases(struct profile *p, const struct profile *base)
{
    for (size_t i = 0; i < base->nweights; i++) {
        const struct profile_weight *w = &base->weights[i];

        *(struct profile_weight *)row_put(p->weights, &p->nweights, sizeof(*w), w->pattern) = *w;
    }
    for (size_t i = 0; i < base->ngroups; i++) {
        size_t k = 0;

        while (k < p->ngroups && !str_eq(p->groups[k].name, base->groups[i].name))
            k++;
        if (k == PROFILE_GROUPS_MAX)
            continue;
        p->groups[k] = base->groups[i];
        p->ngroups = MAX(p->ngroups, k + 1);
        for (size_t m = 0; m < base->nmembers; m++) {
            struct profile_member *row;

            if (base->members[m].group != i)
                continue;
            row = row_put(p->members, &p->nmembers, sizeof(*row), base->members[m].pattern);
            *row = base->members[m];
            row->group = (unsigned)k;
        }
    }
    p->observe = base->observe;
    p->observe_at = base->observe_at;
    memcpy(p->thresholds, base->thresholds, sizeof(p->thresholds));
    memcpy(p->thresholds_at, base->thresholds_at, sizeof(p->thresholds_at));
}

static void
read_thresholds(struct profile *p, const struct conf_section *s)
{
    const struct settings_profile *conf = s->data;
    const struct {
        unsigned row, action;
        int64_t value;
    } rows[] = {
        {PROFILE_ROW_TAG, VERDICT_TAG, conf->tag},
        {PROFILE_ROW_HOLD, VERDICT_HOLD, conf->hold},
        {PROFILE_ROW_TEMPFAIL, VERDICT_TEMPFAIL, conf->tempfail},
        {PROFILE_ROW_REFUSE, VERDICT_REFUSE, conf->refuse},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!(s->set >> rows[i].row & 1))
            continue;
        p->thresholds[rows[i].action] = rows[i].value;
        p->thresholds_at[rows[i].action] = (struct profile_place){s->file, s->lines[rows[i].row]};
    }
    if (s->set >> PROFILE_ROW_OBSERVE & 1) {
        p->observe = conf->observe;
        p->observe_at = (struct profile_place){s->file, s->lines[PROFILE_ROW_OBSERVE]};
    }
}

/* A stronger action does not follow from less, and nothing follows from nothing. */
static void
check_thresholds(struct reader *r, const struct profile *p)
{
    unsigned below = 0;
    char one[32], two[32];

    for (unsigned a = VERDICT_TAG; a < VERDICT_ACTIONS_; a++) {
        const struct profile_place *at = &p->thresholds_at[a];

        if (p->thresholds[a] == CONF_POINTS_NONE)
            continue;
        if (p->thresholds[a] <= 0)
            conf_fail(r->errs, at->file, at->line,
                      "`%s`: mail that nothing was found against has 0 points; write more than 0, "
                      "or none",
                      verdict_action_name((uint8_t)a));
        if (below && p->thresholds[below] >= p->thresholds[a])
            conf_fail(r->errs, at->file, at->line,
                      "profile \"%.*s\": `%s` at %s would never happen, since `%s` begins at %s",
                      SHOWN(p->name), verdict_action_name((uint8_t)below),
                      verdict_points(p->thresholds[below], one), verdict_action_name((uint8_t)a),
                      verdict_points(p->thresholds[a], two));
        below = a;
    }
}

static void
put_digest(struct profile *p)
{
    uint32_t crc = crc32c(0, p->thresholds, sizeof(p->thresholds));

    crc = crc32c(crc, &p->observe, sizeof(p->observe));
    for (size_t i = 0; i < p->nweights; i++) {
        crc = crc32c(crc, p->weights[i].pattern.p, p->weights[i].pattern.n);
        crc = crc32c(crc, &p->weights[i].weight, sizeof(p->weights[i].weight));
    }
    for (size_t i = 0; i < p->ngroups; i++) {
        crc = crc32c(crc, p->groups[i].name.p, p->groups[i].name.n);
        crc = crc32c(crc, &p->groups[i].least, sizeof(p->groups[i].least));
        crc = crc32c(crc, &p->groups[i].most, sizeof(p->groups[i].most));
    }
    for (size_t i = 0; i < p->nmembers; i++) {
        crc = crc32c(crc, p->members[i].pattern.p, p->members[i].pattern.n);
        crc = crc32c(crc, &p->members[i].group, sizeof(p->members[i].group));
    }
    p->digest = crc;
}

/* ---- what builds on what ---- */

static struct source *
source_find(struct reader *r, struct str name, bool shipped)
{
    for (size_t i = 0; i < r->nsources; i++) {
        struct source *s = &r->sources[i];

        if (s->shipped == shipped && str_eq(s->section->label, name))
            return s;
    }
    return NULL;
}

static void read_source(struct reader *r, struct source *s, unsigned depth);

static const char *
source_name(const void *ctx, size_t i)
{
    return ((const struct reader *)ctx)->sources[i].section->label.p;
}

/* The profile that a row `base` names, read; NULL: told. */
static const struct profile *
base_of(struct reader *r, const struct source *s, const struct conf_line *line, unsigned depth)
{
    bool own = str_eq(line->text, s->section->label);
    struct source *base = own || s->shipped ? NULL : source_find(r, line->text, false);

    char hint[96];

    if (!base && !(own && s->shipped))
        base = source_find(r, line->text, true);
    if (!base) {
        conf_fail(r->errs, line->file, line->line,
                  own ? "profile \"%.*s\" builds on itself; name another one%s"
                      : "there is no profile \"%.*s\"; add its block or name another one%s",
                  SHOWN(line->text),
                  own ? ""
                      : conf_hint(conf_nearest(line->text, source_name, r, r->nsources), hint));
        return NULL;
    }
    if (base->state == SOURCE_READING || depth == PROFILE_BASES_MAX) {
        conf_fail(r->errs, line->file, line->line,
                  "profile \"%.*s\" builds on \"%.*s\", which builds on it (or on too many); "
                  "remove one `base`",
                  SHOWN(s->section->label), SHOWN(line->text));
        return NULL;
    }
    read_source(r, base, depth + 1);
    return base->profile;
}

/* Words of group rows: no more members than these. */
static size_t
words_of(const struct conf_list *lines)
{
    size_t n = 0;

    for (size_t i = 0; i < lines->n; i++) {
        struct str rest = ((const struct conf_line *)lines->items)[i].text;

        for (; (rest = str_trim(rest)).n; n++)
            (void)str_word(&rest);
    }
    return n;
}

/* Memory for what the bases and the own rows say. */
static struct profile *
profile_new(struct reader *r, const struct source *s, const struct profile **bases, size_t nbases)
{
    const struct settings_profile *conf = s->section->data;
    struct arena *a = &r->set->arena;
    struct profile *p = ARENA_NEW(a, struct profile);
    size_t nweights = conf->weight.n, nmembers = words_of(&conf->group);

    for (size_t i = 0; i < nbases; i++) {
        nweights += bases[i]->nweights;
        nmembers += bases[i]->nmembers;
    }
    if (nweights > PROFILE_WEIGHTS_MAX || nmembers > PROFILE_WEIGHTS_MAX) {
        conf_fail(r->errs, s->section->file, s->section->line,
                  "profile \"%.*s\" has too many rows; at most %u weights and as many findings in "
                  "groups",
                  SHOWN(s->section->label), PROFILE_WEIGHTS_MAX);
        return NULL;
    }
    if (p) {
        p->weights = ARENA_ARRAY(a, struct profile_weight, nweights + 1);
        p->members = ARENA_ARRAY(a, struct profile_member, nmembers + 1);
        p->groups = ARENA_ARRAY(a, struct profile_group, PROFILE_GROUPS_MAX);
    }
    if (!p || !p->weights || !p->members || !p->groups) {
        conf_fail(r->errs, s->section->file, s->section->line, "out of memory");
        return NULL;
    }
    p->name = s->section->label;
    p->at = (struct profile_place){s->section->file, s->section->line};
    p->shipped = s->shipped;
    for (unsigned i = 0; i < VERDICT_ACTIONS_; i++)
        p->thresholds[i] = CONF_POINTS_NONE;
    return p;
}

static void
read_source(struct reader *r, struct source *s, unsigned depth)
{
    const struct settings_profile *conf = s->section->data;
    const struct conf_line *lines = conf->base.items;
    const struct profile *bases[PROFILE_BASES_MAX];
    size_t nbases = 0;
    struct profile *p;

    if (s->state != SOURCE_NEW)
        return;
    s->state = SOURCE_READING;
    for (size_t i = 0; i < conf->base.n; i++) {
        const struct profile *base =
            nbases < PROFILE_BASES_MAX ? base_of(r, s, &lines[i], depth) : NULL;

        if (base)
            bases[nbases++] = base;
    }
    p = profile_new(r, s, bases, nbases);
    s->state = SOURCE_READ;
    if (!p)
        return;
    for (size_t i = 0; i < nbases; i++)
        put_bases(p, bases[i]);
    for (size_t i = 0; i < nbases; i++)
        p->bases = arena_fmt(&r->set->arena, "%.*s%s%.*s", STR_ARG(p->bases), i ? ", " : "",
                             STR_ARG(bases[i]->name));
    for (size_t i = 0; i < conf->weight.n; i++)
        read_weight(r, p, (const struct conf_line *)conf->weight.items + i);
    for (size_t i = 0; i < conf->group.n; i++)
        read_group(r, p, (const struct conf_line *)conf->group.items + i);
    read_thresholds(p, s->section);
    check_thresholds(r, p);
    put_digest(p);
    s->profile = p;
}

/* ---- the set ---- */

static void
add_sources(struct reader *r, const struct conf *conf, bool shipped)
{
    const struct conf_section *s = conf ? conf_first(conf, "profile") : NULL;

    for (; s; s = conf_next(s)) {
        if (s->label.n > PROFILE_NAME_MAX || r->nsources == PROFILES_MAX) {
            conf_fail(r->errs, s->file, s->line,
                      "there are at most %u profiles, and a name has at most %u bytes",
                      PROFILES_MAX, PROFILE_NAME_MAX);
            continue;
        }
        r->sources[r->nsources++] = (struct source){.section = s, .shipped = shipped};
    }
}

static void
read_shipped(struct profile_set *set, struct conf_errors *errs)
{
    static const struct conf_block *const blocks[] = {&policy_profile_block};
    struct conf_texts *texts = ARENA_NEW(&set->arena, struct conf_texts);
    struct conf_errors own = {0}; /* what was told before is no mistake of these */

    if (!texts) {
        conf_fail(errs, STR_NONE, 0, "out of memory");
        return;
    }
    ENSURE(profile_nfiles <= ARRAY_LEN(texts->items));
    for (size_t i = 0; i < profile_nfiles; i++) {
        struct str path = arena_fmt(&set->arena, "shipped:%s", profile_files[i].name);

        texts->items[texts->n++] = (struct conf_text){path, str_c(profile_files[i].text)};
    }
    conf_parse(&set->shipped, texts, blocks, ARRAY_LEN(blocks), 0, &own);
    for (size_t i = 0; i < own.n; i++)
        conf_fail(errs, own.items[i].file, own.items[i].line, "%.*s", STR_ARG(own.items[i].text));
    conf_errors_done(&own);
}

int
profile_set_build(struct profile_set *ret, const struct conf *conf,
                  const struct check *const *checks, size_t nchecks, struct conf_errors *errs)
{
    struct profile_set set = {0};
    struct reader r = {.set = &set, .errs = errs, .checks = checks, .nchecks = nchecks};

    arena_init(&set.arena, SET_ARENA_MAX);
    read_shipped(&set, errs);
    r.sources = ARENA_ARRAY(&set.arena, struct source, PROFILES_MAX);
    set.items = ARENA_ARRAY(&set.arena, struct profile *, PROFILES_MAX);
    if (!r.sources || !set.items || !set.shipped) {
        conf_fail(errs, STR_NONE, 0, "out of memory");
        profile_set_done(&set);
        *ret = set;
        return ERR_NOMEM;
    }
    add_sources(&r, conf, false);
    add_sources(&r, set.shipped, true);
    for (size_t i = 0; i < r.nsources; i++) {
        struct source *s = &r.sources[i];

        read_source(&r, s, 0);
        if (s->profile && profile_find_index(&set, s->section->label) < 0)
            set.items[set.n++] = s->profile;
    }
    *ret = set;
    return 0;
}
