/*
 * policy/profile.c - the set of profiles, and what one says of a finding or a sum.
 *
 * Called by the gate, by `gapura check` and by `gapura policy`. How the text of a profile becomes
 * one is in profile_read.c. Never changes a profile that is in use.
 */
#include "policy/profile.h"
#include "policy/profile_inner.h"

#define KEY_MAX 128u /* "CHECK.FINDING": names are static texts of ours */

const struct profile_file profile_files[] = {
#include "policy/profiles.inc"
};
const size_t profile_nfiles = ARRAY_LEN(profile_files);

static const struct conf_row profile_rows[] = {
    {.name = "base",
     CONF_ROW(LINES, struct settings_profile, base,
              .doc = "Profiles that this one builds on: all that they say is said here, and what "
                     "stands below counts before it. In a block named as a shipped profile the "
                     "same name means the shipped one.")},
    {.name = "weight",
     CONF_ROW(LINES, struct settings_profile, weight,
              .doc = "`CHECK.FINDING POINTS`: what a finding weighs, above 0 if it speaks against "
                     "the mail; `CHECK.* POINTS` for all findings of a check that have no row of "
                     "their own. What is not named weighs what docs/checks/ says.")},
    {.name = "group",
     CONF_ROW(LINES, struct settings_profile, group,
              .doc = "`NAME LEAST MOST CHECK.FINDING CHECK.* ...`: however many of these findings "
                     "there are, together they weigh at least LEAST and at most MOST points "
                     "(`none`: no bound). What is cut off is shown. A finding is in one group; "
                     "further rows of the same NAME add to it.")},
    {.name = "observe",
     CONF_ROW(BOOL, struct settings_profile, observe, .def = "no",
              .doc = "The profile judges and events show what it would have done; nothing follows "
                     "from it.")},
    {.name = "tag",
     CONF_ROW(POINTS, struct settings_profile, tag, .def = "none", .max = VERDICT_WEIGHT_MAX,
              .doc = "From this sum on mail is delivered and its verdict is `tag`.")},
    {.name = "hold",
     CONF_ROW(POINTS, struct settings_profile, hold, .def = "none", .max = VERDICT_WEIGHT_MAX,
              .doc = "From this sum on mail is taken and set aside: `gapura queue list --state "
                     "held`, `queue release`, `queue remove`.")},
    {.name = "tempfail",
     CONF_ROW(POINTS, struct settings_profile, tempfail, .def = "none", .max = VERDICT_WEIGHT_MAX,
              .doc = "From this sum on the client is told to come again later (451 4.7.1).")},
    {.name = "refuse",
     CONF_ROW(POINTS, struct settings_profile, refuse, .def = "none", .max = VERDICT_WEIGHT_MAX,
              .doc = "From this sum on mail is refused (550 5.7.1).")},
};
const struct conf_block policy_profile_block = {
    .name = "profile",
    .labelled = true,
    .size = sizeof(struct settings_profile),
    .rows = profile_rows,
    .nrows = ARRAY_LEN(profile_rows),
    .doc = "What findings weigh and what follows from their sum; a domain, a tenant or the main "
           "block names the one that judges its mail (docs/policy.md). Shipped: standard, strict, "
           "lenient.",
};
_Static_assert(ARRAY_LEN(profile_rows) == PROFILE_ROWS_, "profile_inner.h numbers the rows");

int
profile_find_index(const struct profile_set *set, struct str name)
{
    for (size_t i = 0; i < set->n; i++) {
        if (str_eq(set->items[i]->name, name))
            return (int)i;
    }
    return -1;
}

const struct profile *
profile_find(const struct profile_set *set, struct str name)
{
    int i = profile_find_index(set, name);

    return i < 0 ? NULL : set->items[i];
}

void
profile_set_done(struct profile_set *set)
{
    conf_free(set->shipped);
    arena_done(&set->arena);
    *set = (struct profile_set){0};
}

/* "check.name" or "check.*" in dst. */
static struct str
finding_key(const struct finding *f, const char *name, char dst[KEY_MAX])
{
    struct str check = str_c(f->check), rest = str_c(name);

    if (check.n + 1 + rest.n > KEY_MAX)
        return STR_NONE;
    memcpy(dst, check.p, check.n);
    dst[check.n] = '.';
    memcpy(dst + check.n + 1, rest.p, rest.n);
    return str_of(dst, check.n + 1 + rest.n);
}

_Static_assert(offsetof(struct profile_weight, pattern) == 0 &&
                   offsetof(struct profile_member, pattern) == 0,
               "rows begin with their pattern");

size_t
profile_row_at(const void *rows, size_t n, size_t size, struct str pattern)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (str_cmp(*(const struct str *)(const void *)((const char *)rows + mid * size), pattern) <
            0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static const void *
row_find(const void *rows, size_t n, size_t size, struct str key)
{
    size_t at = n ? profile_row_at(rows, n, size, key) : 0;
    const void *row;

    if (!rows || at == n)
        return NULL;
    row = (const char *)rows + at * size;
    return str_eq(*(const struct str *)row, key) ? row : NULL;
}

/* A row that names the finding goes before one that names all of its check. */
static const void *
finding_row(const void *rows, size_t n, size_t size, const struct finding *f)
{
    char room[KEY_MAX];
    const void *row;

    if (!n)
        return NULL;
    row = row_find(rows, n, size, finding_key(f, f->name, room));
    return row ? row : row_find(rows, n, size, finding_key(f, "*", room));
}

int32_t
profile_weigh(const struct profile *p, const struct finding *f,
              const struct profile_weight **ret_row)
{
    const struct profile_weight *row =
        p ? finding_row(p->weights, p->nweights, sizeof(*p->weights), f) : NULL;

    if (ret_row)
        *ret_row = row;
    return row ? row->weight : f->weight;
}

static const struct profile_group *
group_named(const struct profile *p, const char *name)
{
    for (size_t i = 0; name && i < p->ngroups; i++) {
        if (str_eq(p->groups[i].name, str_c(name)))
            return &p->groups[i];
    }
    return NULL;
}

const struct profile_group *
profile_group_of(const struct profile *p, const struct finding *f)
{
    const struct profile_member *row;

    if (!p)
        return NULL;
    row = finding_row(p->members, p->nmembers, sizeof(*p->members), f);
    if (row)
        return &p->groups[row->group];
    return group_named(p, f->group ? f->group : f->check);
}

uint8_t
profile_action(const struct profile *p, int64_t sum)
{
    for (unsigned action = VERDICT_REFUSE; p && action > VERDICT_PASS; action--) {
        if (p->thresholds[action] != CONF_POINTS_NONE && sum >= p->thresholds[action])
            return (uint8_t)action;
    }
    return VERDICT_PASS;
}
