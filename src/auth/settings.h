/*
 * auth/settings.h - settings of verification: how strangers' mail is looked at, and whom to
 * believe.
 *
 * What follows from it (`require`, `known`) stands in the main block.
 */
#ifndef GAPURA_AUTH_SETTINGS_H
#define GAPURA_AUTH_SETTINGS_H

#include "core/conf.h"

enum settings_verify_mode { VERIFY_OFF, VERIFY_ON };
enum settings_dmarc_method { DMARC_METHOD_TREE, DMARC_METHOD_PSL };
struct settings_verify {    /* block "verify" */
    int mode;               /* enum settings_verify_mode */
    struct str authserv_id; /* empty: the host name */
    int dmarc_method;       /* enum settings_dmarc_method */
    struct str psl;         /* PATH of the Public Suffix List */
    uint64_t dkim_signatures, dkim_min_bits, dkim_max_bits;
    struct conf_list arc_trusted; /* texts: domains, .domains */
    struct conf_list reports;     /* texts: addresses that reports are sent to */
    uint64_t returns;             /* ns: how long mail of ours vouches for reports about it */
};
extern const struct conf_block auth_verify_block;

#endif
