/*
 * roles/check.h - what must hold between blocks: names that refer to others, files that must be
 * there, keys that fit their certificates. Used by the loader and `gapura check`.
 */
#ifndef GAPURA_ROLES_CHECK_H
#define GAPURA_ROLES_CHECK_H

#include "core/conf.h"
#include "roles/bundle.h"

#define CHECK_PATH_MAX 512u

struct check_files {
    struct bundle_file items[256];
    struct str full[256]; /* where each was read from */
    size_t n;
    struct arena arena;
};
/* Adds to errs; reads the files that settings name into `files` (paths as the settings say). */
void check_conf(const struct conf *, struct check_files *files, struct conf_errors *errs);

#endif
