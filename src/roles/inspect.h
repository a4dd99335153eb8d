/*
 * roles/inspect.h - `gapura check`: are these settings right?
 */
#ifndef GAPURA_ROLES_INSPECT_H
#define GAPURA_ROLES_INSPECT_H

#include "core/base.h"

/* Prints every error and note to stderr (as JSON to stdout), or one line to stdout. Exit status. */
int inspect_main(const char *file, bool as_json);

#endif
