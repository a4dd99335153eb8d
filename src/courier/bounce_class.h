/*
 * courier/bounce_class.h - what a delivery report says of a recipient, as a class with advice.
 * Pure.
 *
 * The way of a report: mail/dsn.h reads it, its caller checks that it speaks of mail of ours, this
 * decides what it means, store/ and campaign/ act on that.
 */
#ifndef GAPURA_COURIER_BOUNCE_CLASS_H
#define GAPURA_COURIER_BOUNCE_CLASS_H

#include "courier/reply_class.h"
#include "mail/dsn.h"

/* The class of one of the report's recipients. Hard, and suppression for good, need a failure: a
 * report of a delay gives no address up. What failed elsewhere is over: retry is NO, and no other
 * source of ours can help.
 *
 * sent_to: whom the mail was sent to whose signed return address the report came to; empty: nothing
 * proves it. Who had one mail of ours can write any report, so all that it can do is about sent_to:
 * it suppresses nobody where it speaks of others alone, never a domain, and slows and holds nothing
 * (a server that refuses us says so to us). */
void bounce_classify(const struct reply_classes *, const struct dsn_report *,
                     const struct dsn_outcome *, struct str sent_to,
                     struct reply_class_result *ret);

#endif
