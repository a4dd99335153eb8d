/*
 * submit/mailboxes.h - lists of addresses as people and programs write them, with names that have
 * no domain.
 */
#ifndef GAPURA_SUBMIT_MAILBOXES_H
#define GAPURA_SUBMIT_MAILBOXES_H

#include "core/buf.h"

/* Copies the list; every address without a domain gets "@origin" behind it. */
void mailboxes_qualify(struct buf *out, struct str list, struct str origin);
/* Calls fn for each address of a qualified list, groups opened, comments and names left out.
 * How many, or ERR_SYNTAX, ERR_LIMIT, or what fn returned below 0. */
int mailboxes_each(struct str list, int (*fn)(void *ctx, struct str mailbox), void *ctx);

#endif
