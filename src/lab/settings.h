/*
 * lab/settings.h - the lab's own files: fake mailbox providers and sample mail, as rows.
 *
 * Read by `gapura lab` from DIR/lab.conf and what that includes; the gateway under test has its
 * own settings and knows nothing of these.
 */
#ifndef GAPURA_LAB_SETTINGS_H
#define GAPURA_LAB_SETTINGS_H

#include "core/conf.h"

struct settings_lab {               /* main block */
    struct endpoint mx, submission; /* where the gateway listens */
    struct str login, password;     /* yours */
    struct str robot;               /* the login of sample mail */
    bool traffic;
    uint64_t max_sessions; /* of all providers */
    uint64_t max_message;  /* bytes of one that providers keep and judge */
    uint64_t keep;         /* messages in a folder */
    uint64_t memory;       /* entries of a greylist */
    uint64_t summary;      /* ns between lines about sample mail */
};

enum lab_stage { /* where a provider may hang up; bits of settings_provider.drop */
                 LAB_AT_CONNECT,
                 LAB_AT_HELO,
                 LAB_AT_MAIL,
                 LAB_AT_RCPT,
                 LAB_AT_DATA,
                 LAB_AT_BODY,
                 LAB_AT_DOT,
                 LAB_STAGES
};
enum lab_tls { LAB_TLS_YES, LAB_TLS_NO, LAB_TLS_BROKEN };

struct settings_provider { /* block "provider NAME" */
    struct str about;
    struct conf_list domains; /* texts, for the banner; DNS leads here by the zone */
    struct endpoint address;
    struct str hostname;
    bool lmtp;
    int tls;          /* enum lab_tls */
    uint64_t latency; /* ns before each reply */
    uint64_t max_size;
    uint64_t drop; /* bits 1 << enum lab_stage */
    uint64_t sessions_per_client;
    struct str sessions_reply;
    struct rate rate; /* messages of all clients */
    struct str rate_reply;
    uint64_t messages_per_session;
    struct str per_session_reply;
    uint64_t greylist; /* ns that a new triplet must wait; 0: off */
    struct str greylist_reply;
    struct conf_list unknown, full; /* texts: patterns of local parts */
    struct str unknown_reply, full_reply;
    struct conf_list opinion; /* texts: NAME POINTS */
    struct conf_list words;   /* texts, for the opinion `words` */
    uint64_t spam_at;         /* points from which on mail is filed into spam */
    struct str accept_reply;
};

enum lab_wing { LAB_OUT, LAB_IN };
struct settings_mail { /* block "mail NAME": sample mail */
    int wing;          /* enum lab_wing */
    struct str from;
    struct conf_list to; /* texts: taken in turn */
    struct str subject, text;
    struct str helo;
    struct addr client; /* address that it is sent from */
    struct rate rate;
};

#define LAB_NBLOCKS 3u
extern const struct conf_block *const lab_blocks[LAB_NBLOCKS];

#endif
