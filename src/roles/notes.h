/*
 * roles/notes.h - what settings without an error surely do not mean. Told by `gapura check` and, as
 * warnings, when settings come into force; never a reason to refuse them.
 */
#ifndef GAPURA_ROLES_NOTES_H
#define GAPURA_ROLES_NOTES_H

#include "core/conf.h"
#include "roles/check.h"

/* One for each thing found; the files are those that check_conf() read. */
void notes_conf(const struct conf *, const struct check_files *, uint64_t now_s,
                struct conf_errors *ret);

#endif
