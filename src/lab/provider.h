/*
 * lab/provider.h - the fake mailbox providers: SMTP and LMTP servers in one loop, each with a law.
 */
#ifndef GAPURA_LAB_PROVIDER_H
#define GAPURA_LAB_PROVIDER_H

#include "core/err.h"
#include "lab/settings.h"
#include "net/loop.h"

struct providers;
/* Binds all of them. conf lives longer. The message of a failure names the address. */
int providers_start(struct providers **ret, struct loop *, const struct conf *,
                    const char *mail_dir, struct why *);
void providers_free(struct providers *);

#endif
