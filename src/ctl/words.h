/*
 * ctl/words.h - finding the verb that was typed, its help, and what to say if there is none.
 */
#ifndef GAPURA_CTL_WORDS_H
#define GAPURA_CTL_WORDS_H

#include <stdio.h>

#include "ctl/args.h"
#include "ctl/verbs.h"

/* The verb that argv[1].. begins with, the longest; *ret_used counts its words. NULL: none. */
const struct ctl_verb *words_find(int argc, char **argv, int *ret_used);
/* All verbs, under their headings. */
void words_usage(FILE *to);
void words_help(const struct ctl_verb *, FILE *to);
/* No verb begins like that: lists those of the group that was named, or says what is near. Returns
 * the exit status: 0 if only help on a group was wanted, else 2. */
int words_unknown(int argc, char **argv);
/* For a verb that another room runs: finds it in argv and reads its words. NULL: all is said, help
 * was shown or a word is wrong, and *ret_status is how to exit. */
const struct ctl_verb *words_take(int argc, char **argv, struct args *ret, int *ret_status);

#endif
