/*
 * policy/profile.h - profiles: what findings weigh, how far groups of them may go, and what follows
 * from the sum.
 *
 *     profile careful {
 *         base   = standard                     # all of that first, then what stands here
 *         weight = helo.not-fqdn 0.5            # CHECK.FINDING or CHECK.*, POINTS
 *         group  = names -1 4 helo.* reverse.*  # NAME, least, most, whose weights it bounds
 *         hold   = 8
 *         refuse = 12
 *     }
 *
 * The shipped ones (share/profiles) are compiled in; a block of the same name stands in place of
 * one, and may build on it with `base`. One message's way: the gate builds a set from its settings,
 * finds the profile of each recipient's domain, and verdict_judge() asks it for weights and groups.
 * Immutable once built. Never knows a check but by its name.
 */
#ifndef GAPURA_POLICY_PROFILE_H
#define GAPURA_POLICY_PROFILE_H

#include "core/conf.h"
#include "policy/stage.h"

#define PROFILES_MAX         1000u
#define PROFILE_BASES_MAX    16u /* deep */
#define PROFILE_WEIGHTS_MAX  2000u
#define PROFILE_GROUPS_MAX   64u
#define PROFILE_NAME_MAX     63u /* bytes: it stands in records and events */
#define PROFILE_DEFAULT_NAME "standard"

struct settings_profile { /* block "profile NAME" */
    struct conf_list base, weight, group;
    bool observe;
    int64_t tag, hold, tempfail, refuse;
};
extern const struct conf_block policy_profile_block;

struct profile_place {
    struct str file;
    unsigned line;
};
struct profile_weight {
    struct str pattern; /* CHECK.FINDING or CHECK.* */
    int32_t weight;
    struct profile_place at;
};
struct profile_group {
    struct str name;
    int64_t least, most; /* hundredths; -CONF_POINTS_NONE and CONF_POINTS_NONE: no bound */
    struct profile_place at;
};
struct profile_member {
    struct str pattern;
    unsigned group;
    struct profile_place at;
};
struct profile {
    struct str name;
    struct str bases; /* as written, for people: "standard" */
    struct profile_place at;
    bool shipped;
    bool observe;                   /* judges and does not act */
    struct profile_weight *weights; /* sorted by pattern */
    struct profile_member *members; /* likewise */
    struct profile_group *groups;
    size_t nweights, nmembers, ngroups;
    int64_t thresholds[VERDICT_ACTIONS_]; /* CONF_POINTS_NONE: never */
    struct profile_place thresholds_at[VERDICT_ACTIONS_], observe_at;
    uint32_t digest; /* of all of it: what a record was made with */
};

struct profile_set {
    struct arena arena;
    struct conf *shipped;
    struct profile **items;
    size_t n;
};
/* The shipped profiles and those of conf (NULL: none). With checks given, names of checks and of
 * findings are compared with what there is. All mistakes go to errs with their places; what can be
 * read is there all the same. conf must stay as long as the set. 0 or ERR_NOMEM (also told). */
int profile_set_build(struct profile_set *ret, const struct conf *conf,
                      const struct check *const *checks, size_t nchecks, struct conf_errors *errs);
void profile_set_done(struct profile_set *); /* safe on a zeroed one */
const struct profile *profile_find(const struct profile_set *, struct str name); /* or NULL */

/* Hundredths that the finding weighs there; *ret_row (may be NULL) says by which row, NULL if the
 * check's own weight stands. */
int32_t profile_weigh(const struct profile *, const struct finding *,
                      const struct profile_weight **ret_row);
/* The group that bounds the finding's weight, or NULL: none does. */
const struct profile_group *profile_group_of(const struct profile *, const struct finding *);
/* The strongest action whose threshold that sum reaches. */
uint8_t profile_action(const struct profile *, int64_t sum);

struct profile_file { /* of share/profiles */
    const char *name, *text;
};
extern const struct profile_file profile_files[];
extern const size_t profile_nfiles;

#endif
