/*
 * roles/lab_confine.h - `gapura lab` gives up its rights once its gateway runs.
 */
#ifndef GAPURA_ROLES_LAB_CONFINE_H
#define GAPURA_ROLES_LAB_CONFINE_H

#include "core/err.h"

/* From here on: an ordinary user if it was root, system calls by profile, and of all paths `mail`
 * to write and `events` (a directory) to read. */
int lab_confine(const char *mail, const char *events, struct why *why);

#endif
