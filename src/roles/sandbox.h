/*
 * roles/sandbox.h - what a role may still do once it has started: user, seccomp, Landlock, limits.
 *
 * Profiles are rows of a table: system calls by groups, and paths by right. A forbidden call kills
 * the process (the supervisor starts it again and says which role it was). Landlock is asked for
 * its version and used as far as it goes; where it is absent that is said once.
 */
#ifndef GAPURA_ROLES_SANDBOX_H
#define GAPURA_ROLES_SANDBOX_H

#include "core/err.h"
#include "core/str.h"

enum sandbox_right { SANDBOX_READ = 1, SANDBOX_WRITE = 2 };
struct sandbox_path {
    const char *path;
    unsigned rights;
};
/* A list that grows, without repeats; texts are copied. An empty path adds nothing. */
struct sandbox_paths {
    struct sandbox_path *items;
    unsigned n;
};
void sandbox_paths_add(struct sandbox_paths *, struct str path, unsigned rights);
/* May the first list do all that the second asks for? */
bool sandbox_paths_cover(const struct sandbox_paths *, const struct sandbox_paths *);
void sandbox_paths_done(struct sandbox_paths *);
/* Becomes uid and gid for good (no-op when they are already so), no new privileges. */
int sandbox_user(unsigned uid, unsigned gid, struct why *);
/* Keeps only the capability to read any file (the loader). */
int sandbox_reader(unsigned uid, unsigned gid, struct why *);
/* Closes the profile of that name, and forbids dumps. Paths that are absent are skipped. */
int sandbox_enter(const char *profile, const struct sandbox_path *paths, unsigned npaths,
                  struct why *);
bool sandbox_exists(const char *profile);
bool sandbox_has_landlock(void);

#endif
