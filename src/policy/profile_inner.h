/*
 * policy/profile_inner.h - what the profile files share with each other.
 */
#ifndef GAPURA_POLICY_PROFILE_INNER_H
#define GAPURA_POLICY_PROFILE_INNER_H

#include "policy/profile.h"

/* Numbers of the rows of the block, for conf_section.set. */
enum profile_row {
    PROFILE_ROW_BASE,
    PROFILE_ROW_WEIGHT,
    PROFILE_ROW_GROUP,
    PROFILE_ROW_OBSERVE,
    PROFILE_ROW_TAG,
    PROFILE_ROW_HOLD,
    PROFILE_ROW_TEMPFAIL,
    PROFILE_ROW_REFUSE,
    PROFILE_ROWS_,
};

int profile_find_index(const struct profile_set *, struct str name); /* or -1 */
/* Where the row of that pattern is or would be, among rows sorted by their first field. */
size_t profile_row_at(const void *rows, size_t n, size_t size, struct str pattern);

#endif
