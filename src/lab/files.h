/*
 * lab/files.h - the lab's data files (share/lab, compiled in) and the directory they are put into.
 */
#ifndef GAPURA_LAB_FILES_H
#define GAPURA_LAB_FILES_H

#include "core/err.h"

struct lab_file {
    const char *name; /* "providers/open.conf" */
    const char *text;
};
extern const struct lab_file lab_files[];
extern const size_t lab_nfiles;

/* Makes dir, its folders, and each file that is not there: what is there is somebody's and stays.
 * net is "127.0.0" or another one's three numbers: takes its place in what is written. */
int lab_files_put(const char *dir, const char *net, struct why *why);
/* Can users of their own reach it? As root the gateway's roles are such users. ERR_REFUSED. */
int lab_files_reachable(const char *dir, struct why *why);

#endif
