/*
 * lab/law.h - how a fake mailbox provider behaves: settings, what it remembers, and time go in; a
 * reply, a hang-up or a folder come out. Pure: no socket, no clock, no file.
 *
 * One message's way (provider.c asks): law_connect() -> law_mail() -> law_rcpt() for each
 * recipient -> law_message() chooses the folder. law_connect() also says where this session will
 * be dropped, if the provider does such things.
 */
#ifndef GAPURA_LAB_LAW_H
#define GAPURA_LAB_LAW_H

#include "lab/settings.h"
#include "lab/words.h"

#define LAW_CLIENTS                                                                                \
    64u /* addresses that a provider knows; the one silent for longest goes first                  \
         */
struct law_client {
    struct addr addr;
    unsigned sessions;
    uint64_t last, since; /* mono ns */
    uint64_t messages, known, unknown;
};
struct law_waiting { /* of a greylist */
    uint64_t key, since;
};
enum law_answer {
    LAW_SESSIONS,
    LAW_PER_SESSION,
    LAW_RATE,
    LAW_UNKNOWN,
    LAW_FULL,
    LAW_GREYLIST,
    LAW_ACCEPT,
    LAW_ANSWERS
};
struct law {
    const struct settings_provider *p;
    struct lab_reply replies[LAW_ANSWERS];
    struct law_client clients[LAW_CLIENTS];
    struct bucket messages;
    struct law_waiting *greylist;
    size_t ngreylist;
    unsigned turn;                 /* of the stages to drop at */
    uint32_t points[LAB_OPINIONS]; /* hundredths */
};
/* The settings must outlive it and have passed their check. */
int law_init(struct law *, const struct settings_provider *, uint64_t memory);
void law_done(struct law *);

/* ret_client: to be given to the others and to law_leave(), NULL if the session is refused at the
 * door. ret_drop: where to hang up, LAB_STAGES for nowhere. NULL: go on. */
const struct lab_reply *law_connect(struct law *, const struct addr *, uint64_t now,
                                    struct law_client **ret_client, enum lab_stage *ret_drop);
void law_leave(struct law *, struct law_client *);
const struct lab_reply *law_mail(struct law *, unsigned messages_of_session, uint64_t now);
const struct lab_reply *law_rcpt(struct law *, struct law_client *, struct str from, struct str to,
                                 uint64_t now);
struct law_facts {
    struct str from;   /* of the envelope */
    struct str header; /* block of CRLF lines */
    struct str body;   /* as far as it was kept */
    bool tls;
};
/* True: into spam. why gets the points and their reasons, as "4.5 of 5: unsigned 1.5, words 3";
 * empty if the provider has no opinion. */
bool law_message(struct law *, struct law_client *, const struct law_facts *, uint64_t now,
                 char *why, size_t cap);

#endif
