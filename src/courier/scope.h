/*
 * courier/scope.h - suspensions: one record for many messages, with reason and end.
 *
 * By domain and tenant they park lanes, by provider (site) and source they keep sessions from
 * being opened, by sender they are seen when a message is read: its rows are SCOPED then.
 */
#ifndef GAPURA_COURIER_SCOPE_H
#define GAPURA_COURIER_SCOPE_H

#include "courier/inner.h"
#include "spool/record.h"

struct scope {
    struct spool_id id;
    uint64_t made, until;                               /* wall ns; until 0: no end */
    char *domain, *tenant, *sender, *source, *provider; /* "" any */
    char *reason, *by;
    uint32_t slot;     /* own segment that holds its record */
    uint32_t end_slot; /* own segment of its end, pinned; SEGMENT_NONE: not on disk yet */
    unsigned writing;  /* records of its beginning under way */
    bool ended, moving;
    struct scope *next;
};
struct scopes {
    struct scope *list;
    size_t n;
    bool by_sender; /* some scope looks at senders */
};

struct scopes *scopes_create(void);
void scopes_free(struct scopes *);
void scopes_record(struct courier *, uint32_t slot, const struct spool_record *);
void scopes_settle(struct courier *); /* after recovery: applies what is in force */
void scopes_tick(struct courier *);   /* ends what is over */
/* What holds mail with these marks now; NULL fields are not looked at. */
const struct scope *scopes_match(const struct courier *, struct str domain, const char *tenant,
                                 struct str sender, const char *source, const char *site);
/* Writes records that lie in that segment of ours again: compaction. */
void scopes_move(struct courier *, uint32_t slot);
/* Looks at dests, tenants and sources anew. */
void scopes_apply(struct courier *);
int scopes_suspend(struct courier *, const struct spool_scope *, char ret_id[SPOOL_ID_TEXT]);
/* Ends those that match all given fields, or the id; returns how many. */
unsigned scopes_resume(struct courier *, const struct spool_scope *, struct str id);

#endif
