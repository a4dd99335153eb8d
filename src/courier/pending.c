#include "courier/callout.h"
#include "courier/compaction.h"
#include "courier/dest.h"
#include "courier/session.h"
struct callouts *
callouts_create(struct courier *c)
{
    (void)c;
    return malloc(1);
}
void
callouts_free(struct courier *c)
{
    free(c->callouts);
}
void
callouts_tick(struct courier *c)
{
    (void)c;
}
void
callouts_tell_all(struct courier *c)
{
    (void)c;
}
void
callout_ask(struct courier *c, struct chan *from, uint64_t id, struct wire *body)
{
    (void)c;
    (void)from;
    (void)id;
    (void)body;
}
struct compaction *
compaction_create(struct courier *c)
{
    (void)c;
    return malloc(1);
}
void
compaction_free(struct courier *c)
{
    free(c->compaction);
}
void
compaction_tick(struct courier *c)
{
    (void)c;
}
void
compaction_space(struct courier *c, struct wire *w)
{
    (void)c;
    (void)w;
}
