/*
 * ctl/args.h - the words behind a verb become a checked JSON object.
 */
#ifndef GAPURA_CTL_ARGS_H
#define GAPURA_CTL_ARGS_H

#include <jansson.h>

#include "core/err.h"
#include "ctl/verbs.h"

struct args {
    json_t *json; /* for the role */
    const char *conf, *run_dir;
    bool as_json, help, once;
    unsigned interval_s;
};
/* argv: what follows the verb's words. 0, or ERR_SYNTAX with why. */
int args_parse(const struct ctl_verb *, int argc, char **argv, struct args *ret, struct why *why);
void args_done(struct args *);
/* Asks at the terminal (twice, if it is a new one), or takes the first line of standard input;
 * adds "password". */
int args_password(struct args *, struct why *why);

#endif
