/*
 * roles/loader.h - the unprivileged reader of settings.
 */
#ifndef GAPURA_ROLES_LOADER_H
#define GAPURA_ROLES_LOADER_H

#include "core/base.h"

/* Child side of plan_load: reads and checks FILE, sends plan or errors over descriptor 3. Exit
 * status. */
int loader_main(const char *file, uint64_t generation);

#endif
