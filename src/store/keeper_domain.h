/*
 * store/keeper_domain.h - what the files of the verbs domain.dkim.* share.
 */
#ifndef GAPURA_STORE_KEEPER_DOMAIN_H
#define GAPURA_STORE_KEEPER_DOMAIN_H

#include "store/keeper_inner.h"
#include "store/keys.h"

struct keeper_summary {  /* of a domain's keys */
    struct str selector; /* asked for, or empty: any */
    unsigned n;          /* not retired */
    unsigned waiting[2], active[2];
    unsigned bits;
    bool taken; /* the selector is in use, or was */
    uint8_t state;
    bool any;
    char tenant[256];
    char newest[2][KEYS_SELECTOR_MAX + 1]; /* that wait */
};
/* For keys_each(): counts a row in. */
int keeper_summary_row(void *summary, const struct keys_row *);
/* The domain in its stored form; false: the verb has ended. */
bool keeper_domain_arg(const struct verb_call *, char dst[256], struct str *ret);
/* A line of the answer; record: with what is to be published. */
void keeper_domain_line(const struct keeper_reply *, const struct keys_row *, bool record);

void keeper_dkim_add(struct verb_call *);
void keeper_dkim_import(struct verb_call *);
void keeper_dkim_rotate(struct verb_call *);

#endif
