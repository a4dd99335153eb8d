/*
 * lab/mailbox.h - folders of fake providers: DIR/mail/PROVIDER/inbox/01.eml, for people to read.
 */
#ifndef GAPURA_LAB_MAILBOX_H
#define GAPURA_LAB_MAILBOX_H

#include "core/err.h"
#include "core/str.h"

struct mailbox {
    int inbox, spam; /* directories */
    uint64_t keep;   /* messages in each */
    uint64_t count[2];
};
/* Makes the directories. */
int mailbox_open(struct mailbox *, const char *dir, struct str provider, uint64_t keep,
                 struct why *);
void mailbox_close(struct mailbox *);
/* Writes over the oldest. What cannot be written is left out: it is a copy for people. */
void mailbox_put(struct mailbox *, bool spam, struct str head, struct str message);

#endif
