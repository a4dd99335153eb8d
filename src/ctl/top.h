/*
 * ctl/top.h - `gapura top`: the program at work, in a screen that refreshes.
 */
#ifndef GAPURA_CTL_TOP_H
#define GAPURA_CTL_TOP_H

#include "ctl/args.h"

/* The exit status. */
int top_main(const struct ctl_verb *, const char *run_dir, const struct args *);

#endif
